//! Helpers for tests: a receiver that gets a response in pieces, and a reference parser to compare it with. The
//! reference parser gets all bytes at once, reads them in order into vectors, and does not use `httparse`. There is
//! also a reader of written requests, which uses `httparse`.
#![allow(dead_code, unreachable_pub, reason = "shared by tests and fuzz targets, each of which uses a part")]

use hedge_wire::http1::{
    DecodeError, EncodeError, Follower, MAX_DROPPED, MAX_HEADERS, Part, Progress, Receiver, Request,
};

/// A response that owns its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub keep_alive: bool,
    /// The number of bytes up to the end of the response.
    pub length: usize,
}

pub type Outcome = Result<Owned, DecodeError>;

/// Reads `wire` into a buffer of `capacity` bytes, in pieces of the sizes that `piece` returns. Then the peer closes
/// the connection.
pub fn receive(wire: &[u8], capacity: usize, request_was_head: bool, mut piece: impl FnMut() -> usize) -> Outcome {
    // The buffer is full of digits at first. A receiver that reads bytes which it has not been given finds them.
    let mut buffer = vec![b'5'; capacity];
    let mut receiver = Receiver::new(&mut buffer, request_was_head);
    let mut at = 0;
    let mut progress = Progress::More;
    while progress == Progress::More {
        assert!(receiver.response().is_none());
        if at == wire.len() {
            progress = receiver.closed()?;
            continue;
        }
        let space = receiver.space();
        assert!(!space.is_empty() || capacity == 0, "no space, but no error");
        let length = piece().clamp(1, wire.len() - at).min(space.len());
        space[..length].copy_from_slice(&wire[at..at + length]);
        at += length;
        progress = match receiver.received(length) {
            Ok(progress) => progress,
            Err(error) => {
                assert!(receiver.space().is_empty() && receiver.response().is_none());
                assert_eq!((receiver.received(1), receiver.closed()), (Err(error), Err(error)));
                return Err(error);
            }
        };
    }
    assert!(receiver.space().is_empty());
    assert_eq!((receiver.received(1), receiver.closed()), (Ok(Progress::Done), Ok(Progress::Done)));
    let (surplus, response) = (receiver.surplus(), receiver.response().unwrap());
    assert!(surplus == 0 || !response.keep_alive());
    let owned = Owned {
        status: response.status(),
        headers: response
            .headers()
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_owned()))
            .collect(),
        body: response.body().to_owned(),
        keep_alive: response.keep_alive(),
        length: at - surplus,
    };
    for (name, _) in &owned.headers {
        let first = owned.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
        assert_eq!(response.header(&name.to_uppercase()), Some(&first.1[..]), "{name}");
    }
    let layout = response.layout();
    assert_eq!(receiver.into_response().unwrap().body(), owned.body);
    assert_eq!((layout.status(), layout.of(&buffer).unwrap().body()), (owned.status, &owned.body[..]));
    Ok(owned)
}

/// The size of a piece that takes all bytes at once, as far as there is space.
pub fn receive_whole(wire: &[u8], capacity: usize, request_was_head: bool) -> Outcome {
    receive(wire, capacity, request_was_head, || usize::MAX)
}

/// Follows `wire`, in pieces of the sizes that `piece` returns. Then the peer closes the connection. An error comes
/// with its offset.
pub fn follow(
    wire: &[u8],
    request_was_head: bool,
    mut piece: impl FnMut() -> usize,
) -> Result<Owned, (DecodeError, usize)> {
    let mut follower = Follower::default();
    assert!(follower.is_done());
    follower.request(request_was_head);
    let (mut at, mut end) = (0, 0);
    let (mut body, mut has_head) = (vec![], false);
    while !follower.is_done() {
        if at == end || !has_head {
            if end == wire.len() {
                break;
            }
            end += piece().clamp(1, wire.len() - end);
        }
        while at < end && !follower.is_done() {
            let part = follower.follow(&wire[at..end]).map_err(|fault| {
                assert_eq!(follower.follow(&wire[at..end]), Err(fault));
                (fault.error, usize::try_from(fault.at).unwrap())
            })?;
            assert!(part.length() > 0 || part == Part::Partial);
            match part {
                Part::Partial => break,
                Part::Head(_) => has_head = true,
                Part::Data(length) => body.extend_from_slice(&wire[at..at + length]),
                Part::Interim(_) | Part::Framing(_) | Part::Trailers(_) => {}
            }
            at += part.length();
        }
    }
    if !follower.is_done() && !follower.is_until_closed() {
        return Err((DecodeError::Truncated, at));
    }
    Ok(Owned { status: 0, headers: vec![], body, keep_alive: follower.keeps(), length: at })
}

/// Checks that a follower finds the same response as [`expected`].
pub fn assert_followed(wire: &[u8], request_was_head: bool, piece: impl FnMut() -> usize) {
    let context = wire.escape_ascii();
    let bare_lf = |length: usize| wire[..length].windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    match (follow(wire, request_was_head, piece), expected(wire, 1 << 20, request_was_head)) {
        (Ok(seen), Ok(owned)) => {
            assert_eq!(seen.body, owned.body, "{context}");
            assert_eq!((seen.length, seen.keep_alive), (owned.length, owned.keep_alive), "{context}");
        }
        // A follower is stricter about line ends, and allows more lines.
        (Err((DecodeError::BadHead, at)), _) if bare_lf(wire.len().min(at + 1)) => {}
        (_, Err(DecodeError::TooManyHeaders { .. })) => {}
        // It also names an alert of TLS, by its first byte.
        (Err((DecodeError::Tls, at)), Err(DecodeError::BadHead)) => assert_eq!(wire[at], 0x15, "{context}"),
        // A body that no buffer can hold is never complete for a follower.
        (Err((error, _)), Err(DecodeError::TooLarge { .. } | DecodeError::Closed)) => {
            assert!(matches!(error, DecodeError::Truncated | DecodeError::TooLarge { .. }), "{error:?}: {context}");
        }
        (Err((error, _)), Err(expected)) => assert_eq!(error, expected, "{context}"),
        (seen, expected) => assert_eq!(seen.is_ok(), expected.is_ok(), "{seen:?} is not {expected:?}: {context}"),
    }
}

/// Checks that two ways to cut a response into pieces have the same outcome. If bytes follow the response, `keep_alive`
/// may differ, since only bytes in the last piece count as surplus.
pub fn assert_same(outcome: &Outcome, other: &Outcome, wire: &[u8], context: &str) {
    let forget = |outcome: &Outcome| outcome.clone().map(|owned| Owned { keep_alive: false, ..owned });
    assert_eq!(forget(outcome), forget(other), "{context}: {}", wire.escape_ascii());
    if let (Ok(one), Ok(other)) = (outcome, other) {
        let surplus = one.length < wire.len();
        assert!(surplus || one.keep_alive == other.keep_alive, "{context}: {}", wire.escape_ascii());
    }
}

/// The outcome that [`receive`] must have: the reference parser.
pub fn expected(wire: &[u8], capacity: usize, request_was_head: bool) -> Outcome {
    let too_large = Err(DecodeError::TooLarge { capacity });
    let mut dropped = 0;
    let mut start = 0;
    if capacity == 0 {
        return too_large;
    }
    let (head, length) = loop {
        let rest = &wire[start..];
        let seen = &rest[..rest.len().min(capacity)];
        if seen.iter().zip(b"HTTP/1.").any(|(byte, expected)| byte != expected) {
            return Err(DecodeError::BadHead);
        }
        let Some(length) = head_length(seen) else {
            let early = if wire.is_empty() { DecodeError::Closed } else { DecodeError::Truncated };
            return if seen.len() == capacity { too_large } else { Err(early) };
        };
        let head = read_head(&seen[..length])?;
        let lengths = values(&head.headers, "content-length");
        let announces = !values(&head.headers, "transfer-encoding").is_empty()
            || lengths.iter().any(|length| length.is_empty() || length.bytes().any(|byte| byte != b'0'));
        if announces && (head.status < 200 || head.status == 204 && !request_was_head) {
            return Err(DecodeError::BadFraming);
        }
        if head.status >= 200 {
            break (head, length);
        }
        dropped += length;
        if dropped > MAX_DROPPED {
            return Err(DecodeError::TooMuchDropped);
        }
        start += length;
    };
    let room = capacity - length;
    let mut body = Pull { bytes: &wire[start + length..], dropped };
    let mut owned = Owned { status: head.status, headers: head.headers, body: vec![], keep_alive: false, length: 0 };
    let mut kept = head.version == 1;
    for option in values(&owned.headers, "connection") {
        kept |= option == "keep-alive";
    }
    kept &= !values(&owned.headers, "connection").contains(&"close".to_owned());

    let codings = owned.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")).count();
    let lengths = values(&owned.headers, "content-length");
    if head.status == 304 {
        // There is no body, whatever the head says.
        kept &= codings == 0 && lengths.iter().all(|length| !length.is_empty() && length.bytes().all(|b| b == b'0'));
    } else if request_was_head || head.status == 204 {
        // There is no body here either.
    } else if codings > 0 {
        let chunked = values(&owned.headers, "transfer-encoding") == ["chunked"];
        if !chunked || head.version == 0 || !lengths.is_empty() {
            return Err(DecodeError::BadFraming);
        }
        if room == 0 {
            return too_large;
        }
        while let Some(size) = body.chunk_size()? {
            if size >= (room - owned.body.len()) as u128 {
                return too_large;
            }
            for _ in 0..size {
                owned.body.push(body.next()?);
            }
            body.expect(b"\r\n")?;
        }
        body.trailers()?;
    } else if lengths.is_empty() {
        if body.bytes.len() >= room {
            return too_large;
        }
        owned.body = std::mem::take(&mut body.bytes).to_vec();
        kept = false;
    } else {
        let mut numbers = vec![];
        for length in &lengths {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(DecodeError::BadFraming);
            }
            numbers.push(length.parse::<usize>().unwrap_or(usize::MAX));
        }
        if numbers.iter().any(|number| number != &numbers[0]) {
            return Err(DecodeError::BadFraming);
        }
        if numbers[0] > room {
            return too_large;
        }
        for _ in 0..numbers[0] {
            owned.body.push(body.next()?);
        }
    }
    Ok(Owned { keep_alive: kept, length: wire.len() - body.bytes.len(), ..owned })
}

/// The length of a head, up to and including the first empty line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        if line == b"\n" || line == b"\r\n" {
            return Some(length);
        }
    }
    None
}

struct Head {
    version: u8,
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

fn read_head(head: &[u8]) -> Result<Head, DecodeError> {
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap();
    let (version, rest) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', version @ (b'0' | b'1'), b' ', rest @ ..] => (version - b'0', rest),
        _ => return Err(DecodeError::BadHead),
    };
    let (code, reason) = rest.split_at_checked(3).ok_or(DecodeError::BadHead)?;
    if !code.iter().all(u8::is_ascii_digit)
        || !matches!(reason.first(), None | Some(b' '))
        || !reason.iter().all(is_text)
    {
        return Err(DecodeError::BadHead);
    }
    let status = std::str::from_utf8(code).unwrap().parse().unwrap();
    let mut headers = vec![];
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(DecodeError::BadHead)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(is_name) || !value.iter().all(is_text) {
            return Err(DecodeError::BadHead);
        }
        if headers.len() == MAX_HEADERS {
            return Err(DecodeError::TooManyHeaders { limit: MAX_HEADERS });
        }
        headers.push((String::from_utf8(name.to_vec()).unwrap(), trimmed(value).to_vec()));
    }
    match status {
        0..=99 => Err(DecodeError::BadHead),
        101 => Err(DecodeError::Switched),
        _ => Ok(Head { version, status, headers }),
    }
}

/// The elements of the values of all headers with this name, in lower case.
fn values(headers: &[(String, Vec<u8>)], name: &str) -> Vec<String> {
    let named = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .map(|element| String::from_utf8_lossy(trimmed(element)).to_ascii_lowercase())
        .collect()
}

fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn is_name(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn is_text(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Reads a chunked body byte by byte.
struct Pull<'a> {
    bytes: &'a [u8],
    dropped: usize,
}

impl Pull<'_> {
    fn next(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*byte)
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), DecodeError> {
        for byte in expected {
            if self.next()? != *byte {
                return Err(DecodeError::BadChunk);
            }
        }
        Ok(())
    }

    fn padding(&mut self) -> Result<(), DecodeError> {
        self.dropped += 1;
        if self.dropped > MAX_DROPPED { Err(DecodeError::TooMuchDropped) } else { Ok(()) }
    }

    /// Reads text up to the next CR. `byte` is the first byte of the text.
    fn text(&mut self, mut byte: u8) -> Result<(), DecodeError> {
        while byte != b'\r' {
            if !is_text(&byte) {
                return Err(DecodeError::BadChunk);
            }
            self.padding()?;
            byte = self.next()?;
        }
        Ok(())
    }

    fn chunk_size(&mut self) -> Result<Option<u128>, DecodeError> {
        let mut digits = String::new();
        let mut byte = self.next()?;
        while byte.is_ascii_hexdigit() {
            if digits.len() == 16 {
                return Err(DecodeError::BadChunk);
            }
            digits.push(char::from(byte));
            byte = self.next()?;
        }
        if digits.is_empty() {
            return Err(DecodeError::BadChunk);
        }
        while matches!(byte, b' ' | b'\t') {
            self.padding()?;
            byte = self.next()?;
        }
        match byte {
            b';' => self.text(byte)?,
            b'\r' => {}
            _ => return Err(DecodeError::BadChunk),
        }
        self.expect(b"\n")?;
        let size = u128::from_str_radix(&digits, 16).unwrap();
        Ok((size > 0).then_some(size))
    }

    fn trailers(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.next()? {
                b'\r' => return self.expect(b"\n"),
                byte => self.trailer(byte)?,
            }
            self.expect(b"\n")?;
        }
    }

    fn trailer(&mut self, mut byte: u8) -> Result<(), DecodeError> {
        if !is_name(&byte) {
            return Err(DecodeError::BadChunk);
        }
        while is_name(&byte) {
            self.padding()?;
            byte = self.next()?;
        }
        if byte == b':' { self.text(byte) } else { Err(DecodeError::BadChunk) }
    }
}

/// Checks that a request that can be written is read back unchanged, and that nothing follows it.
pub fn assert_read_back(request: &Request<'_>) {
    // This is enough for most requests. If it is not, the error says how much is needed.
    let mut out = vec![0; 512];
    if let Err(EncodeError::TooLong { needs }) = request.encode(&mut out) {
        out.resize(needs, 0);
    }
    let Ok(length) = request.encode(&mut out) else { return };
    let mut short = vec![0; length];
    assert_eq!(request.encode(&mut short), Ok(length));
    assert_eq!(short, out[..length]);
    for capacity in [0, length / 2, length - 1] {
        assert_eq!(request.encode(&mut short[..capacity]), Err(EncodeError::TooLong { needs: length }));
    }

    let mut parsed = vec![httparse::EMPTY_HEADER; request.headers.len() + 3];
    let mut read = httparse::Request::new(&mut parsed);
    let head = read.parse(&out[..length]).unwrap().unwrap();
    assert_eq!((read.method, read.path, read.version), (Some(request.method), Some(request.target), Some(1)));
    assert_eq!(&out[head..length], request.body);
    let mut expected = vec![("host", request.host.as_bytes())];
    expected.extend(request.headers.iter().map(|(name, value)| (*name, trimmed(value))));
    if !request.keep_alive {
        expected.push(("connection", b"close"));
    }
    let digits = request.body.len().to_string();
    if !request.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&request.method) {
        expected.push(("content-length", digits.as_bytes()));
    }
    let found: Vec<_> = read.headers.iter().map(|header| (header.name, header.value)).collect();
    assert_eq!(found, expected);
}

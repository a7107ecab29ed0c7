//! What the tests of RESP and the fuzzer have in common: replies as trees, a second parser that needs the whole reply
//! and is as simple as possible, and a check that the codec finds what this parser finds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "tests, of which each uses a part"
)]

use hedge_wire::resp::{Fault, Follower, Limits, Progress, Reply, Token};

/// A reply.
#[derive(Clone, PartialEq, Debug)]
pub enum Tree {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    BulkError(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null(&'static str),
    Double(String),
    Boolean(bool),
    BigNumber(String),
    Verbatim(Vec<u8>, Vec<u8>),
    /// The type, and the parts: those of a map alternate.
    Aggregate(u8, Vec<Tree>),
    Attribute(Vec<Tree>, Box<Tree>),
}

impl Tree {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let line = |out: &mut Vec<u8>, text: &[u8]| out.extend([text, b"\r\n"].concat());
        let bulk = |out: &mut Vec<u8>, kind: char, bytes: &[u8]| {
            line(out, format!("{kind}{}", bytes.len()).as_bytes());
            line(out, bytes);
        };
        let aggregate = |out: &mut Vec<u8>, kind: u8, parts: &[Self]| {
            let count = if matches!(kind, b'%' | b'|') { parts.len() / 2 } else { parts.len() };
            line(out, format!("{}{count}", char::from(kind)).as_bytes());
            parts.iter().for_each(|part| part.encode(out));
        };
        match self {
            Self::Simple(text) => line(out, &[b"+", &text[..]].concat()),
            Self::Error(text) => line(out, &[b"-", &text[..]].concat()),
            Self::BulkError(text) => bulk(out, '!', text),
            Self::Integer(number) => line(out, format!(":{number}").as_bytes()),
            Self::Bulk(bytes) => bulk(out, '$', bytes),
            Self::Null(text) => line(out, text.as_bytes()),
            Self::Double(text) => line(out, format!(",{text}").as_bytes()),
            Self::Boolean(boolean) => line(out, if *boolean { b"#t" } else { b"#f" }),
            Self::BigNumber(digits) => line(out, format!("({digits}").as_bytes()),
            Self::Verbatim(format, text) => bulk(out, '=', &[format, &b":"[..], text].concat()),
            Self::Aggregate(kind, parts) => aggregate(out, *kind, parts),
            Self::Attribute(parts, value) => {
                aggregate(out, b'|', parts);
                value.encode(out);
            }
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// What the second parser finds at the start of some bytes.
pub enum Whole {
    /// A reply of this number of bytes.
    Reply(Tree, usize),
    More,
    Bad,
}

/// The second parser. It has no limits except that of levels.
pub fn whole(bytes: &[u8], depth: u8) -> Whole {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Whole::More };
    let (line, mut at) = (&bytes[..end], end + 2);
    if line.is_empty() || line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Whole::Bad;
    }
    let (kind, text) = (line[0], &line[1..]);
    let utf8 = std::str::from_utf8(text).unwrap_or("not a number");
    let tree = match kind {
        b'+' => Tree::Simple(text.to_vec()),
        b'-' => Tree::Error(text.to_vec()),
        b':' => match utf8.parse() {
            Ok(number) => Tree::Integer(number),
            Err(_) => return Whole::Bad,
        },
        b'_' if text.is_empty() => Tree::Null("_"),
        b'$' if utf8 == "-1" => Tree::Null("$-1"),
        b'*' if utf8 == "-1" => Tree::Null("*-1"),
        b'#' if matches!(utf8, "t" | "f") => Tree::Boolean(utf8 == "t"),
        b',' if is_double(utf8) => Tree::Double(utf8.to_owned()),
        b'(' if is_digits(utf8.strip_prefix(['+', '-']).unwrap_or(utf8)) => Tree::BigNumber(utf8.to_owned()),
        b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|' => {
            if !is_digits(utf8) || (utf8.len() > 1 && utf8.starts_with('0')) {
                return Whole::Bad;
            }
            let Ok(length) = utf8.parse::<u32>() else { return Whole::Bad };
            let length = usize::try_from(length).unwrap();
            match if matches!(kind, b'$' | b'!' | b'=') {
                bulk(kind, bytes, at, length)
            } else {
                parts(kind, bytes, at, length, depth)
            } {
                Whole::Reply(tree, end) => {
                    at = end;
                    tree
                }
                other => return other,
            }
        }
        _ => return Whole::Bad,
    };
    Whole::Reply(tree, at)
}

fn bulk(kind: u8, bytes: &[u8], at: usize, length: usize) -> Whole {
    if kind == b'=' && (length < 4 || bytes.get(at + 3).is_some_and(|&byte| byte != b':')) {
        return Whole::Bad;
    }
    let Some(rest) = bytes.get(at + length..) else { return Whole::More };
    if !b"\r\n".starts_with(&rest[..rest.len().min(2)]) {
        return Whole::Bad;
    }
    if rest.len() < 2 {
        return Whole::More;
    }
    let data = &bytes[at..at + length];
    let tree = match kind {
        b'$' => Tree::Bulk(data.to_vec()),
        b'!' => Tree::BulkError(data.to_vec()),
        _ => Tree::Verbatim(data[..3].to_vec(), data[4..].to_vec()),
    };
    Whole::Reply(tree, at + length + 2)
}

fn parts(kind: u8, bytes: &[u8], mut at: usize, length: usize, depth: u8) -> Whole {
    let Some(below) = depth.checked_sub(1) else { return Whole::Bad };
    let is_top = depth == Limits::default().depth;
    if kind == b'>' && !is_top {
        return Whole::Bad;
    }
    let count = if matches!(kind, b'%' | b'|') { length * 2 } else { length };
    let mut parts = Vec::new();
    for _ in 0..count {
        match whole(&bytes[at..], below) {
            Whole::Reply(part, length) => {
                parts.push(part);
                at += length;
            }
            other => return other,
        }
    }
    if kind != b'|' {
        return Whole::Reply(Tree::Aggregate(kind, parts), at);
    }
    match whole(&bytes[at..], depth) {
        Whole::Reply(value, length) => Whole::Reply(Tree::Attribute(parts, Box::new(value)), at + length),
        other => other,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_double(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "inf" | "nan") {
        return true;
    }
    let (number, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(a, b)| (a, Some(b)));
    let (before, after) = number.split_once('.').map_or((number, None), |(a, b)| (a, Some(b)));
    is_digits(before)
        && after.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// The replies in some bytes that come in pieces: where each ends and whether it is a push; and how it ends: with a fault,
/// or whether the last reply is complete.
pub type Outcome = (Vec<(usize, bool)>, Result<bool, Fault>);

pub fn follow(bytes: &[u8], limits: Limits, mut piece: impl FnMut() -> usize) -> Outcome {
    let mut follower = Follower::new(limits);
    let (mut at, mut ends) = (0, Vec::new());
    while at < bytes.len() {
        let mut given = &bytes[at..bytes.len().min(at.saturating_add(piece().max(1)))];
        at += given.len();
        while !given.is_empty() {
            match follower.follow(given) {
                Ok(Progress::More) => break,
                Ok(Progress::Reply(used)) => {
                    given = &given[used..];
                    ends.push((at - given.len(), false));
                }
                Ok(Progress::Push(used)) => {
                    given = &given[used..];
                    ends.push((at - given.len(), true));
                }
                Err(fault) => {
                    assert_eq!(follower.follow(b"+OK\r\n"), Err(fault), "a fault stays");
                    return (ends, Err(fault));
                }
            }
        }
    }
    (ends, Ok(follower.is_between()))
}

/// The tree of a view.
pub fn tree(reply: Reply<'_>) -> Tree {
    let attribute: Vec<_> = reply.attribute().flat_map(|(name, value)| [tree(name), tree(value)]).collect();
    let parts = || reply.elements().map(tree).collect::<Vec<_>>();
    let mut tokens = reply.tokens();
    if let Some(token @ Token::Attribute(_)) = tokens.next() {
        (0..token.parts()).for_each(|_| assert!(tokens.value().is_some()));
        return Tree::Attribute(attribute, Box::new(tree(tokens.value().unwrap())));
    }
    match reply.token() {
        Token::Simple(text) => Tree::Simple(text.to_vec()),
        Token::Error(error) if reply.bytes()[0] == b'-' => Tree::Error(error.text().to_vec()),
        Token::Error(error) => Tree::BulkError(error.text().to_vec()),
        Token::Integer(number) => Tree::Integer(number),
        Token::Bulk(bytes) => Tree::Bulk(bytes.to_vec()),
        Token::Null => Tree::Null(match reply.bytes()[0] {
            b'$' => "$-1",
            b'*' => "*-1",
            _ => "_",
        }),
        Token::Double(double) => Tree::Double(double.text().to_owned()),
        Token::Boolean(boolean) => Tree::Boolean(boolean),
        Token::BigNumber(digits) => Tree::BigNumber(String::from_utf8(digits.to_vec()).unwrap()),
        Token::Verbatim { format, text } => Tree::Verbatim(format.to_vec(), text.to_vec()),
        Token::Array(_) => Tree::Aggregate(b'*', parts()),
        Token::Set(_) => Tree::Aggregate(b'~', parts()),
        Token::Push(_) => Tree::Aggregate(b'>', parts()),
        Token::Map(_) => Tree::Aggregate(b'%', parts()),
        Token::Attribute(_) => panic!("the attribute was passed over"),
    }
}

/// Checks that the codec finds what the second parser finds, whole and in pieces. Returns the number of replies.
pub fn assert_found(bytes: &[u8], mut piece: impl FnMut() -> usize) -> usize {
    let limits = Limits::default();
    let (ends, end) = follow(bytes, limits, || usize::MAX);
    assert_eq!((&ends, end), (&follow(bytes, limits, || 1).0, follow(bytes, limits, || 1).1), "byte by byte");
    assert_eq!((ends.clone(), end), follow(bytes, limits, &mut piece), "in pieces: {}", bytes.escape_ascii());
    let mut at = 0;
    for &(end, is_push) in &ends {
        let Whole::Reply(expected, length) = whole(&bytes[at..], limits.depth) else {
            panic!("no reply at {at}: {}", bytes.escape_ascii());
        };
        let reply = Reply::parse(&bytes[at..end], limits).unwrap();
        assert_eq!((tree(reply), end), (expected, at + length), "{}", bytes.escape_ascii());
        let mut value = reply.tokens();
        assert_eq!(value.value().map(|value| value.bytes()), Some(reply.bytes()));
        assert!(value.next().is_none());
        assert_eq!(is_push, matches!(reply.token(), Token::Push(_)));
        at = end;
    }
    match (whole(&bytes[at..], limits.depth), end) {
        (Whole::Bad, Err(_)) => {}
        // Some errors are known before a line is complete.
        (Whole::More, Ok(false) | Err(_)) => {}
        (Whole::More, Ok(true)) => assert_eq!(at, bytes.len()),
        (_, end) => panic!("{end:?} at {at}: {}", bytes.escape_ascii()),
    }
    ends.len()
}

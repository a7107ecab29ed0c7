//! Where a head ends, and what it says of the body.

use core::mem::MaybeUninit;

use super::DecodeError;

/// Header lines that a response may have.
pub const MAX_HEADERS: usize = 32;

/// Looks for the empty line that ends a head, in however many pieces it comes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scan {
    LineStart,
    /// A CR is all the line has.
    Cr,
    Line,
}

impl Scan {
    /// Takes the bytes from `at` of a head that starts at 0, and says where it ends if it does among them.
    pub(super) fn find(&mut self, buffer: &[u8], at: usize) -> Result<Option<usize>, DecodeError> {
        // Garbage is refused at its first wrong byte, so that no call waits for an empty line in it.
        for (index, &byte) in buffer.iter().enumerate().skip(at) {
            if b"HTTP/1.".get(index).is_some_and(|&expected| byte != expected) {
                return Err(DecodeError::BadHead);
            }
            *self = match (*self, byte) {
                (Self::LineStart | Self::Cr, b'\n') => return Ok(Some(index.saturating_add(1))),
                (Self::Line, b'\n') => Self::LineStart,
                (Self::LineStart, b'\r') => Self::Cr,
                _ => Self::Line,
            };
        }
        Ok(None)
    }
}

/// How the end of a body is known (RFC 9112, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// What a head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
}

impl Head {
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Reads a whole head of at most so many header lines.
    pub(super) fn parse<const LINES: usize>(head: &[u8], request_was_head: bool) -> Result<Self, DecodeError> {
        let mut headers = [const { MaybeUninit::uninit() }; LINES];
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut headers);
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(DecodeError::TooManyHeaders { limit: LINES }),
            _ => return Err(DecodeError::BadHead),
        }
        let (Some(version), Some(status)) = (response.version, response.code) else {
            return Err(DecodeError::BadHead);
        };
        match status {
            ..=99 => return Err(DecodeError::BadHead),
            101 => return Err(DecodeError::Switched),
            _ => {}
        }
        let kept = kept(version, response.headers);
        let declared = declared(version, response.headers);
        let announced = !matches!(declared, Ok(None | Some(Framing::Length(0))));
        let (framing, keep_alive) = match status {
            // What must not announce a body (RFC 9110, 8.6; RFC 9112, 6.1): what follows would be taken for the next response.
            ..=199 | 204 if announced && !(request_was_head && status == 204) => return Err(DecodeError::BadFraming),
            // A body that a server sends in spite of its 304 would be, too.
            304 => (Framing::Length(0), kept && !announced),
            _ if request_was_head || status < 200 || status == 204 => (Framing::Length(0), kept),
            _ => match declared? {
                Some(framing) => (framing, kept),
                None => (Framing::Close, false),
            },
        };
        Ok(Self { status, framing, keep_alive })
    }
}

/// What the headers declare; `None` if they say nothing.
fn declared(version: u8, headers: &[httparse::Header<'_>]) -> Result<Option<Framing>, DecodeError> {
    let mut framing = None;
    for header in headers {
        let next = if header.name.eq_ignore_ascii_case("content-length") {
            Framing::Length(length(header.value)?)
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if version == 0 || !header.value.eq_ignore_ascii_case(b"chunked") || framing.is_some() {
                return Err(DecodeError::BadFraming);
            }
            Framing::Chunked
        } else {
            continue;
        };
        if framing.is_some_and(|framing| framing != next) {
            return Err(DecodeError::BadFraming);
        }
        framing = Some(next);
    }
    Ok(framing)
}

/// A length, or the same one several times. One that no buffer can have is the greatest that can be said.
fn length(value: &[u8]) -> Result<usize, DecodeError> {
    let mut length = None;
    for element in value.split(|&byte| byte == b',') {
        let next = number(element.trim_ascii()).ok_or(DecodeError::BadFraming)?;
        if length.is_some_and(|length| length != next) {
            return Err(DecodeError::BadFraming);
        }
        length = Some(next);
    }
    length.ok_or(DecodeError::BadFraming)
}

fn number(digits: &[u8]) -> Option<usize> {
    let mut number = (!digits.is_empty()).then_some(0_usize)?;
    for digit in digits {
        let value = char::from(*digit).to_digit(10)?;
        number = number.saturating_mul(10).saturating_add(usize::try_from(value).ok()?);
    }
    Some(number)
}

/// Whether the peer keeps the connection (RFC 9112, 9.3).
fn kept(version: u8, headers: &[httparse::Header<'_>]) -> bool {
    let mut kept = version != 0;
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection")) {
        for option in header.value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            kept |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    kept
}

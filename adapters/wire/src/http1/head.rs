//! Finds the end of a head, and reads how the body ends.

use core::mem::MaybeUninit;

use super::DecodeError;

/// The most header lines that a response may have for a [`Receiver`](super::Receiver).
pub const MAX_HEADERS: usize = 32;

/// Searches for the empty line that ends a head. The head may come in any number of pieces.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scan {
    LineStart,
    /// The line consists of a CR so far.
    Cr,
    Line,
}

impl Scan {
    /// Searches the bytes from `at` on. The head starts at 0. Returns the end of the head, if it is among these bytes.
    pub(super) fn find(&mut self, buffer: &[u8], at: usize) -> Result<Option<usize>, DecodeError> {
        // Bytes that are not HTTP are refused at the first wrong byte. Otherwise a call would wait for an empty line
        // that may never come.
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

/// The parts of a head that decide how the response goes on.
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

    /// Reads a whole head of at most `LINES` header lines.
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
            // These statuses must not announce a body (RFC 9110, 8.6; RFC 9112, 6.1). If such a response did, its body
            // would be read as the next response.
            ..=199 | 204 if announced && !(request_was_head && status == 204) => return Err(DecodeError::BadFraming),
            // A server may send a body although the status is 304. It would be read as the next response, so the
            // connection is not used again.
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

/// How the body ends according to the headers; `None` if they do not say.
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

/// Reads a `content-length`: one number, or the same number several times. A number that is too large for `usize`
/// becomes `usize::MAX`, which no buffer can hold.
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

/// Whether the peer keeps the connection open after this response (RFC 9112, 9.3).
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

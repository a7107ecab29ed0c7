//! Reads answers: [`Response`].

use core::fmt;

use super::super::{DecodeError, Fault, MAX_KEY, Progress};
use super::{Status, base64};

/// The longest line of an answer, without its CRLF: room for a key, all flags, and an error in words.
pub const MAX_LINE: usize = 2048;

/// An answer. It borrows from the bytes that were received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'b> {
    status: Status,
    /// The line behind the status, and behind the size of a value.
    rest: &'b [u8],
    value: Option<&'b [u8]>,
}

impl<'b> Response<'b> {
    /// Reads the answer at the start of these bytes. While it is not complete, call this again with the same bytes and
    /// those that follow. A call looks at the line alone, which has at most [`MAX_LINE`] bytes, and not at the value.
    ///
    /// `max_value` limits the value, in bytes. Without other settings, memcached has no value above 1 MiB.
    ///
    /// # Errors
    /// See [`DecodeError`]. More bytes do not change an error. The connection is of no further use.
    pub fn decode(bytes: &'b [u8], max_value: usize) -> Result<Progress<Self>, Fault> {
        let status = status(bytes)?;
        let Some(line) = line(bytes)? else {
            return Ok(Progress::More { needs: bytes.len().saturating_add(1).max(4) });
        };
        let (status, word) = status.ok_or(Fault { error: DecodeError::UnknownStatus, at: line.len() })?;
        let rest = line.get(word.saturating_add(1)..).unwrap_or(&[]);
        let end = line.len().saturating_add(2);
        if status != Status::Value {
            return Ok(Progress::Done { response: Self { status, rest, value: None }, length: end });
        }
        let begin = word.saturating_add(1);
        let digits = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (size, rest) = rest.split_at_checked(digits).unwrap_or((rest, &[]));
        let bad_size = Fault { error: DecodeError::BadSize, at: begin };
        let announced = number(size).filter(|_| size == b"0" || !size.starts_with(b"0")).ok_or(bad_size)?;
        let too_large = Fault { error: DecodeError::TooLarge { announced, limit: max_value }, at: begin };
        let size = usize::try_from(announced).ok().filter(|&size| size <= max_value).ok_or(too_large)?;
        let value_end = end.checked_add(size).ok_or(too_large)?;
        let length = value_end.checked_add(2).ok_or(too_large)?;
        let close = bytes.get(value_end..).unwrap_or(&[]);
        if let Some(at) = close.iter().zip(b"\r\n").position(|(byte, expected)| byte != expected) {
            return Err(Fault { error: DecodeError::BadValueEnd, at: value_end.saturating_add(at) });
        }
        let value = bytes.get(end..value_end);
        if close.len() < 2 || value.is_none() {
            return Ok(Progress::More { needs: length });
        }
        Ok(Progress::Done { response: Self { status, rest, value }, length })
    }

    /// The first word of the answer.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The value, if the status is [`Status::Value`].
    #[must_use]
    pub fn value(&self) -> Option<&'b [u8]> {
        self.value
    }

    /// The text behind the status: the reason of an error, or what the server knows of a key. Empty for other answers.
    #[must_use]
    pub fn text(&self) -> &'b [u8] {
        if self.has_text() { self.rest } else { &[] }
    }

    /// The flags, in order: letters, and what is behind each.
    pub fn flags(&self) -> impl Iterator<Item = (u8, &'b [u8])> + use<'b> {
        let flags = if self.has_text() { &[] } else { self.rest };
        let tokens = flags.split(|&byte| byte == b' ');
        tokens.filter_map(|token| token.split_first().map(|(&letter, rest)| (letter, rest)))
    }

    /// What is behind the first flag with this letter: for `O` the opaque, for `k` the key as it was sent. `None` if the
    /// answer has no such flag.
    #[must_use]
    pub fn token(&self, letter: u8) -> Option<&'b [u8]> {
        self.flags().find(|&(flag, _)| flag == letter).map(|(_, token)| token)
    }

    /// The number behind a flag: `c` the cas number, `f` what is stored with the value, `h`, `l`, `s`. `None` too if it is
    /// not a decimal number of 64 bits, as for `t-1`.
    #[must_use]
    pub fn number(&self, letter: u8) -> Option<u64> {
        number(self.token(letter)?)
    }

    /// Whether this client should write the value again (`W`). The server tells this to one client only.
    #[must_use]
    pub fn is_won(&self) -> bool {
        self.token(b'W').is_some()
    }

    /// Whether the server has told another client to write the value again (`Z`).
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.token(b'Z').is_some()
    }

    /// Whether the value is stale (`X`).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.token(b'X').is_some()
    }

    /// The key, if it was asked for and is well-formed. A key of any bytes is read into the buffer.
    #[must_use]
    pub fn key<'k>(&self, buffer: &'k mut [u8; MAX_KEY]) -> Option<&'k [u8]> {
        let key = self.token(b'k')?;
        if self.token(b'b').is_some() {
            return base64::decode(key, buffer);
        }
        let to = buffer.get_mut(..key.len())?;
        to.copy_from_slice(key);
        Some(to)
    }

    fn has_text(&self) -> bool {
        self.status.is_error() || self.status == Status::Debug
    }
}

impl fmt::Debug for Response<'_> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("rest", &format_args!("{}", self.rest.escape_ascii()))
            .field("value", &self.value.map(|value| value.len()))
            .finish()
    }
}

/// The status at the start of these bytes, and the length of its word. `None` if the word is not complete.
fn status(bytes: &[u8]) -> Result<Option<(Status, usize)>, Fault> {
    let mut known = 0;
    for (word, status) in Status::WORDS {
        let same = word.iter().zip(bytes).take_while(|(expected, byte)| expected == byte).count();
        match bytes.get(same) {
            None => return Ok(None),
            Some(b' ' | b'\r' | b'\n') if same == word.len() => return Ok(Some((status, same))),
            Some(_) => known = known.max(same),
        }
    }
    Err(Fault { error: DecodeError::UnknownStatus, at: known })
}

/// The line at the start of these bytes, without its CRLF. `None` if it is not complete.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let searched = bytes.get(..=MAX_LINE).unwrap_or(bytes);
    let Some(end) = searched.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        let is_too_long = bytes.len() > MAX_LINE;
        return if is_too_long { Err(Fault { error: DecodeError::LineTooLong, at: MAX_LINE }) } else { Ok(None) };
    };
    match (bytes.get(end), bytes.get(end.saturating_add(1))) {
        (Some(b'\r'), Some(b'\n')) => Ok(bytes.get(..end)),
        (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(_)) => Err(Fault { error: DecodeError::BadLineEnd, at: end.saturating_add(1) }),
        _ => Err(Fault { error: DecodeError::BadLineEnd, at: end }),
    }
}

/// A number of decimal digits alone, up to 64 bits.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

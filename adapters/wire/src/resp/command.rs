//! Writes commands as bytes: [`Command`].

use core::fmt;

use super::Kind;
use crate::write::{Writer, decimal};

/// A command that can be written. It borrows its parts, which may contain any bytes.
///
/// ```
/// use hedge_wire::resp::{Command, EncodeError};
///
/// let command = Command::new(&[b"SET", b"key", b"a\r\nb"])?;
/// let mut out = [0; 64];
/// let length = command.encode(&mut out)?;
/// assert_eq!(&out[..length], b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\na\r\nb\r\n");
/// assert_eq!(length, command.length());
/// assert_eq!(command.encode(&mut out[..8]), Err(EncodeError::TooLong { needs: length }));
/// # Ok::<(), EncodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    parts: &'a [&'a [u8]],
}

impl<'a> Command<'a> {
    /// A command of these parts: its name and its arguments.
    ///
    /// # Errors
    /// [`EncodeError::NoName`] if there is no name, or an empty one. A server sends no reply to an empty command, so
    /// each later reply would be taken as the reply to another command.
    pub fn new(parts: &'a [&'a [u8]]) -> Result<Self, EncodeError> {
        match parts.first() {
            Some(name) if !name.is_empty() => Ok(Self { parts }),
            _ => Err(EncodeError::NoName),
        }
    }

    /// The name and the arguments.
    #[must_use]
    pub fn parts(&self) -> &'a [&'a [u8]] {
        self.parts
    }

    /// What the command does.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of(self.parts)
    }

    /// How many bytes the command takes.
    #[must_use]
    pub fn length(&self) -> usize {
        let mut writer = Writer::new(&mut []);
        self.write(&mut writer);
        writer.length
    }

    /// Writes the command to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer);
        writer.finish().map_err(|needs| EncodeError::TooLong { needs })
    }

    /// Appends the command to `out`, which grows at most once.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) {
        let begin = out.len();
        out.resize(begin.saturating_add(self.length()), 0);
        self.write(&mut Writer::new(out.get_mut(begin..).unwrap_or(&mut [])));
    }

    fn write(&self, out: &mut Writer<'_>) {
        line(out, b"*", self.parts.len());
        for part in self.parts {
            line(out, b"$", part.len());
            out.put(part);
            out.put(b"\r\n");
        }
    }
}

impl fmt::Debug for Command<'_> {
    /// The name, and how many arguments there are. An argument may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.parts.first().copied().unwrap_or(&[]);
        write!(f, "Command({} and {} arguments)", name.escape_ascii(), self.parts.len().saturating_sub(1))
    }
}

fn line(out: &mut Writer<'_>, kind: &[u8], length: usize) {
    out.put(kind);
    out.put(decimal(u64::try_from(length).unwrap_or(u64::MAX), &mut [0; 20]));
    out.put(b"\r\n");
}

/// Why a command cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The command has no name, or an empty one.
    NoName,
    /// The command does not fit into the buffer.
    TooLong {
        /// How many bytes the command needs.
        needs: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("command: has no name"),
            Self::TooLong { needs } => write!(f, "command: takes {needs} bytes, more than its buffer has"),
        }
    }
}

impl core::error::Error for EncodeError {}

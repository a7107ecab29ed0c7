//! The frames of a connection: [`Frame`].

use core::fmt;

use crate::protobuf::Writer;

/// The length of a frame's head: the magic, the body's size and the meta's size, four bytes each.
pub const HEAD: usize = 12;

/// The largest body that a brpc client or server accepts by default, in bytes: 64 MiB.
pub const DEFAULT_MAX_BODY: usize = 64 * 1024 * 1024;

/// What a frame carries, as its first four bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Magic {
    /// `PRPC`: a request or an answer, to be read by [`Packet::read`](super::Packet::read).
    Rpc,
    /// `STRM`: a part of a stream.
    Stream,
}

impl Magic {
    /// The bytes at the start of the frame.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Rpc => *b"PRPC",
            Self::Stream => *b"STRM",
        }
    }
}

/// One frame: a head of 12 bytes, a meta and what follows the meta. It borrows from the bytes that the caller has.
///
/// ```
/// use hedge_wire::baidu_std::{DEFAULT_MAX_BODY, Frame, FrameError, Magic, Progress};
///
/// let frame = Frame { magic: Magic::Rpc, meta: b"\x20\x07", rest: b"hello" };
/// let mut out = [0; 32];
/// let length = frame.encode(&mut out)?;
/// assert_eq!(&out[..length], b"PRPC\0\0\0\x07\0\0\0\x02\x20\x07hello");
///
/// assert_eq!(Frame::decode(&out[..5], DEFAULT_MAX_BODY), Ok(Progress::More { needs: 12 }));
/// assert_eq!(Frame::decode(&out[..12], DEFAULT_MAX_BODY), Ok(Progress::More { needs: 19 }));
/// assert_eq!(Frame::decode(&out, DEFAULT_MAX_BODY), Ok(Progress::Done { frame, length: 19 }));
/// assert_eq!(Frame::decode(&out, 6), Err(FrameError::TooLarge { announced: 7, limit: 6 }));
/// # Ok::<(), hedge_wire::baidu_std::EncodeError>(())
/// ```
///
/// Its `Debug` text has sizes and no bytes, since a meta can hold a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'b> {
    /// What the frame carries.
    pub magic: Magic,
    /// The meta: a protocol buffer.
    pub meta: &'b [u8],
    /// What follows the meta: a message and its attachment, or the payload of a stream.
    pub rest: &'b [u8],
}

/// How far a frame has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Progress<'b> {
    /// The frame is not complete.
    More {
        /// The frame has at least this many bytes, counted from its start. The peer announces this number, and it may
        /// be false. So do not allocate this many bytes before they come.
        needs: usize,
    },
    /// The frame is complete.
    Done {
        /// The frame.
        frame: Frame<'b>,
        /// The length of the frame in bytes. The bytes behind it belong to the next frame.
        length: usize,
    },
}

impl<'b> Frame<'b> {
    /// Reads the frame at the start of these bytes. While it is not complete, call this again with the same bytes and
    /// those that follow. A call costs the same for any number of bytes: it looks at the head alone.
    ///
    /// `max_body` limits meta and rest together, in bytes: usually [`DEFAULT_MAX_BODY`].
    ///
    /// # Errors
    /// See [`FrameError`]. More bytes do not change an error. The connection is of no further use.
    pub fn decode(bytes: &'b [u8], max_body: usize) -> Result<Progress<'b>, FrameError> {
        let magic = magic(bytes)?;
        let Some(announced) = number(bytes, 4) else { return Ok(Progress::More { needs: HEAD }) };
        let too_large = FrameError::TooLarge { announced, limit: max_body };
        let body = usize::try_from(announced).ok().filter(|body| *body <= max_body).ok_or(too_large)?;
        let Some(meta) = number(bytes, 8) else { return Ok(Progress::More { needs: HEAD }) };
        let contradicts = FrameError::MetaTooLarge { meta, body: announced };
        let meta = usize::try_from(meta).ok().filter(|meta| *meta <= body).ok_or(contradicts)?;
        let length = HEAD.checked_add(body).ok_or(too_large)?;
        let parts = bytes.get(HEAD..length).and_then(|body| body.split_at_checked(meta));
        Ok(match (magic, parts) {
            (Some(magic), Some((meta, rest))) => Progress::Done { frame: Frame { magic, meta, rest }, length },
            _ => Progress::More { needs: length },
        })
    }

    /// Writes the frame to `out`, and returns how many bytes were written.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self.magic, out, |out| out.put(self.meta), &[self.rest], 0)
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("magic", &self.magic)
            .field("meta", &Bytes(self.meta))
            .field("rest", &Bytes(self.rest))
            .finish()
    }
}

/// Bytes whose text is their number.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Writes a frame: the meta that `meta` writes, then `rest`. `unsent` bytes more belong to the frame, and the caller
/// sends them.
pub(super) fn encode(
    magic: Magic,
    out: &mut [u8],
    meta: impl FnOnce(&mut Writer<'_>),
    rest: &[&[u8]],
    unsent: usize,
) -> Result<usize, EncodeError> {
    let (capacity, mut nowhere) = (out.len(), [0; HEAD]);
    let (start, behind) = out.split_first_chunk_mut().unwrap_or((&mut nowhere, &mut []));
    let mut writer = Writer::new(behind);
    meta(&mut writer);
    let meta = writer.length();
    for part in rest {
        writer.put(part);
    }
    let needs = HEAD.saturating_add(writer.length());
    *start = head(magic, meta, writer.length().saturating_add(unsent))?;
    if needs > capacity { Err(EncodeError::TooLong { needs }) } else { Ok(needs) }
}

/// Appends what `write` writes to a vector, which grows at most once and is as before after an error.
#[cfg(feature = "alloc")]
pub(super) fn append(
    out: &mut alloc::vec::Vec<u8>,
    write: impl Fn(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), EncodeError> {
    let begin = out.len();
    let needs = match write(&mut []) {
        Err(EncodeError::TooLong { needs }) => needs,
        other => other?,
    };
    out.resize(begin.saturating_add(needs), 0);
    write(out.get_mut(begin..).unwrap_or(&mut [])).map(drop).inspect_err(|_| out.truncate(begin))
}

/// The head of a frame whose meta and body have these lengths. The body includes the meta.
fn head(magic: Magic, meta: usize, body: usize) -> Result<[u8; HEAD], EncodeError> {
    let too_large = EncodeError::TooLarge { bytes: body };
    let [m0, m1, m2, m3] = magic.bytes();
    let [b0, b1, b2, b3] = u32::try_from(body).map_err(|_| too_large)?.to_be_bytes();
    let [n0, n1, n2, n3] = u32::try_from(meta).map_err(|_| too_large)?.to_be_bytes();
    Ok([m0, m1, m2, m3, b0, b1, b2, b3, n0, n1, n2, n3])
}

/// What the frame carries, once its magic is complete.
fn magic(bytes: &[u8]) -> Result<Option<Magic>, FrameError> {
    let matching = |magic: Magic| bytes.iter().zip(magic.bytes()).take_while(|(byte, own)| **byte == *own).count();
    for magic in [Magic::Rpc, Magic::Stream] {
        match matching(magic) {
            4 => return Ok(Some(magic)),
            same if same == bytes.len() => return Ok(None),
            _ => {}
        }
    }
    Err(FrameError::WrongMagic { at: matching(Magic::Rpc).max(matching(Magic::Stream)) })
}

/// The number of four bytes at this place, if they have come.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_be_bytes(*number))
}

/// Why bytes are not a frame. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes do not start with `PRPC` or `STRM`: the peer speaks another protocol.
    WrongMagic {
        /// The first wrong byte, counted from the start of the frame.
        at: usize,
    },
    /// The body is larger than the limit.
    TooLarge {
        /// The size that the frame announces, in bytes.
        announced: u32,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The frame contradicts itself: its meta, which is a part of its body, is larger than the body.
    MetaTooLarge {
        /// The meta's size that the frame announces, in bytes.
        meta: u32,
        /// The body's size that the frame announces, in bytes.
        body: u32,
    },
}

impl FrameError {
    /// The byte at which the fault was found, counted from the start of the frame.
    #[must_use]
    pub const fn at(&self) -> usize {
        match self {
            Self::WrongMagic { at } => *at,
            Self::TooLarge { .. } => 4,
            Self::MetaTooLarge { .. } => 8,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at();
        match self {
            Self::WrongMagic { .. } => write!(f, "frame: byte {at} is not as in PRPC or STRM: another protocol"),
            Self::TooLarge { announced, limit } => {
                write!(f, "frame: byte {at} announces a body of {announced} bytes, more than the limit of {limit}")
            }
            Self::MetaTooLarge { meta, body } => {
                write!(f, "frame: byte {at} announces a meta of {meta} bytes in a body of {body} bytes")
            }
        }
    }
}

impl core::error::Error for FrameError {}

/// Why a frame cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The frame does not fit into the buffer.
    TooLong {
        /// How many bytes the frame needs.
        needs: usize,
    },
    /// The frame does not fit into its own length fields.
    TooLarge {
        /// The size of its body, or of its attachment, in bytes.
        bytes: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { needs } => write!(f, "frame: takes {needs} bytes, more than its buffer has"),
            Self::TooLarge { bytes } => write!(f, "frame: {bytes} bytes are more than a length field can hold"),
        }
    }
}

impl core::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = b"STRM\0\0\0\x03\0\0\0\x01abcPRPC";

    #[test]
    fn p1_the_result_is_the_same_at_every_split() {
        for (wire, expected) in [
            (WIRE, Ok(Progress::Done { frame: Frame { magic: Magic::Stream, meta: b"a", rest: b"bc" }, length: 15 })),
            (
                b"PRPC\0\0\0\0\0\0\0\0",
                Ok(Progress::Done { frame: Frame { magic: Magic::Rpc, meta: b"", rest: b"" }, length: 12 }),
            ),
            (b"PRPX\0\0\0\0\0\0\0\0", Err(FrameError::WrongMagic { at: 3 })),
            (b"SRPC\0\0\0\0\0\0\0\0", Err(FrameError::WrongMagic { at: 1 })),
            (b"HTTP/1.1 200", Err(FrameError::WrongMagic { at: 0 })),
            (b"PRPC\0\0\0\x0b\0\0\0\x01abc", Err(FrameError::TooLarge { announced: 11, limit: 10 })),
            (b"PRPC\xff\xff\xff\xff\xff\xff\xff\xff", Err(FrameError::TooLarge { announced: u32::MAX, limit: 10 })),
            (b"PRPC\0\0\0\x04\0\0\0\x05abcd", Err(FrameError::MetaTooLarge { meta: 5, body: 4 })),
        ] {
            assert_eq!(Frame::decode(wire, 10), expected, "{}", wire.escape_ascii());
            for end in 0..wire.len() {
                match Frame::decode(wire.get(..end).unwrap_or(&[]), 10) {
                    Ok(Progress::More { needs }) => assert!(needs > end && needs <= wire.len(), "{end}"),
                    sooner => assert_eq!(sooner, expected, "{end}"),
                }
            }
        }
    }

    #[test]
    fn p1_an_error_says_where_and_why() {
        let texts = [
            (FrameError::WrongMagic { at: 1 }, "frame: byte 1 is not as in PRPC or STRM: another protocol"),
            (
                FrameError::TooLarge { announced: 11, limit: 10 },
                "frame: byte 4 announces a body of 11 bytes, more than the limit of 10",
            ),
            (
                FrameError::MetaTooLarge { meta: 5, body: 4 },
                "frame: byte 8 announces a meta of 5 bytes in a body of 4 bytes",
            ),
        ];
        for (error, text) in texts {
            assert_eq!(std::format!("{error}"), text);
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_says_how_much_it_needs() {
        let frame = Frame { magic: Magic::Stream, meta: b"a", rest: b"bc" };
        assert_eq!(frame.encode(&mut [0; 14]), Err(EncodeError::TooLong { needs: 15 }));
        let mut out = [0; 16];
        assert_eq!((frame.encode(&mut out), out.starts_with(&WIRE[..15])), (Ok(15), true));
    }
}

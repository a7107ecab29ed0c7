//! The frames of streams: [`StreamFrame`].

#[cfg(feature = "alloc")]
use super::frame::append;
use super::frame::{EncodeError, Frame, Magic, encode};
use super::packet::{PacketError, once};
use crate::protobuf::{Field, Fields, Malformed, Value, Writer, int32};

/// A frame of a stream. A connection carries such frames together with requests and answers.
///
/// The answer to a request with [stream settings](super::StreamSettings) is the payload of such a frame: a whole frame
/// within the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamFrame<'a> {
    /// The id of the stream at the side that receives the frame.
    pub stream_id: i64,
    /// The id of the stream at the side that sends the frame.
    pub source_stream_id: Option<i64>,
    /// What the frame is for: see [`FrameType`].
    pub frame_type: Option<i32>,
    /// Whether the message goes on in the next frame.
    pub has_continuation: Option<bool>,
    /// How many bytes of the stream the sender has consumed so far.
    pub consumed: Option<i64>,
    /// The data.
    pub payload: &'a [u8],
}

/// What a frame of a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameType {
    /// The stream is not known, or has failed.
    Reset = 1,
    /// The sender has closed the stream.
    Close = 2,
    /// The payload is data.
    Data = 3,
    /// The sender tells how much it has consumed.
    Feedback = 4,
}

impl<'a> StreamFrame<'a> {
    /// What the frame is for. `None` if the number is not known.
    #[must_use]
    pub const fn kind(&self) -> Option<FrameType> {
        Some(match self.frame_type {
            Some(1) => FrameType::Reset,
            Some(2) => FrameType::Close,
            Some(3) => FrameType::Data,
            Some(4) => FrameType::Feedback,
            _ => return None,
        })
    }

    /// Reads the frame of a stream.
    ///
    /// # Errors
    /// See [`PacketError`]. The connection is of no further use.
    pub fn read(frame: &Frame<'a>) -> Result<Self, PacketError> {
        if frame.magic != Magic::Stream {
            return Err(PacketError::WrongMagic);
        }
        let mut read = Self { payload: frame.rest, ..Self::default() };
        let (mut stream, mut feedback) = (None, None);
        for field in Fields::new(frame.meta) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(id)) => stream = Some(id.cast_signed()),
                (2, Value::Varint(id)) => read.source_stream_id = Some(id.cast_signed()),
                (3, Value::Varint(kind)) => read.frame_type = Some(int32(kind)),
                (4, Value::Varint(flag)) => read.has_continuation = Some(flag != 0),
                (5, Value::Bytes(bytes)) => once(&mut feedback, field.at, read_feedback(&field, bytes)?)?,
                _ => {}
            }
        }
        read.consumed = feedback.flatten();
        read.stream_id = stream.ok_or(Malformed::Missing { field: "stream_id", at: 0 })?;
        Ok(read)
    }

    /// Writes the whole frame to `out`, and returns how many bytes were written. The fields come in the order of their
    /// numbers, as brpc writes them.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(Magic::Stream, out, |out| self.write_meta(out), &[self.payload], 0)
    }

    /// Appends the whole frame to `out`, which grows at most once.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]. `out` is as before then.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        append(out, |out| self.encode(out))
    }

    fn write_meta(&self, out: &mut Writer<'_>) {
        out.number(1, Some(self.stream_id));
        out.number(2, self.source_stream_id);
        out.number(3, self.frame_type.map(i64::from));
        out.number(4, self.has_continuation.map(i64::from));
        if self.consumed.is_some() {
            out.message(5, |out| out.number(1, self.consumed));
        }
    }
}

fn read_feedback(field: &Field<'_>, bytes: &[u8]) -> Result<Option<i64>, Malformed> {
    let mut consumed = None;
    for inner in field.fields(bytes) {
        if let Field { number: 1, value: Value::Varint(bytes), .. } = inner? {
            consumed = Some(bytes.cast_signed());
        }
    }
    Ok(consumed)
}

//! Requests and answers: [`Packet`].

use core::fmt;

#[cfg(feature = "alloc")]
use super::frame::append;
use super::frame::{Bytes, EncodeError, Frame, HEAD, Magic, encode};
use super::lists::UserFields;
use super::parts::{Checksum, ChunkInfo, Request, Response, StreamSettings};
use crate::protobuf::{Field, Fields, Malformed, Value, Writer, int32};

/// A request or an answer: what its meta says, the message and the attachment. It borrows all its parts. `None` means
/// that a field is not on the wire.
///
/// ```
/// use hedge_wire::baidu_std::{DEFAULT_MAX_BODY, Frame, Packet, Progress};
///
/// let mut request = Packet::request("example.EchoService", "Echo", 7);
/// request.message = b"\x0a\x05hello";
/// request.attachment = b"more";
/// let mut out = [0; 128];
/// let length = request.encode(&mut out)?;
///
/// let Progress::Done { frame, .. } = Frame::decode(&out[..length], DEFAULT_MAX_BODY)? else { panic!("not complete") };
/// assert_eq!(Packet::read(&frame)?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its `Debug` text has the sizes of credential, message and attachment, and not their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Packet<'a> {
    /// What a request asks for.
    pub request: Option<Request<'a>>,
    /// How the call has ended, in an answer. An answer without it is a success.
    pub response: Option<Response<'a>>,
    /// How the message is compressed. The attachment is never compressed.
    pub compress_type: Option<i32>,
    /// What joins an answer with its request. The server sends back what the client has sent, or 0.
    pub correlation_id: Option<i64>,
    /// If this is a part of a larger message: which part.
    pub chunk_info: Option<ChunkInfo>,
    /// The credential, which the first request of a connection carries if the server asks for one.
    pub authentication_data: Option<&'a [u8]>,
    /// The streams that are opened or accepted.
    pub stream_settings: Option<StreamSettings<'a>>,
    /// Names and values that the user has set. Both requests and answers can have them.
    pub user_fields: UserFields<'a>,
    /// How the message is written: see [`ContentType`].
    pub content_type: Option<i32>,
    /// The checksum of message and attachment.
    pub checksum: Checksum<'a>,
    /// The message, usually a protocol buffer, compressed if the packet says so.
    pub message: &'a [u8],
    /// The attachment: bytes that are no part of the message. The meta says its size.
    pub attachment: &'a [u8],
}

impl<'a> Packet<'a> {
    /// A request with an empty message, and with the fields that brpc's client always writes.
    #[must_use]
    pub fn request(service: &'a str, method: &'a str, correlation_id: i64) -> Self {
        let request = Some(Request { service, method, ..Request::default() });
        Self { request, ..Self::plain(correlation_id) }
    }

    /// A successful answer with an empty message, and with the fields that brpc's server always writes.
    #[must_use]
    pub fn response(correlation_id: i64) -> Self {
        let response = Some(Response { error_code: Some(0), error_text: None });
        Self { response, ..Self::plain(correlation_id) }
    }

    fn plain(correlation_id: i64) -> Self {
        Self {
            compress_type: Some(0),
            correlation_id: Some(correlation_id),
            content_type: Some(0),
            checksum: Checksum::NONE,
            ..Self::default()
        }
    }

    /// Reads the packet of a frame. Fields that are not known are skipped, as protocol buffers ask for. This reads the
    /// meta once, and the user's fields once more each time that they are looked at.
    ///
    /// # Errors
    /// See [`PacketError`]. The connection is of no further use, since it is not known which call the packet is for.
    pub fn read(frame: &Frame<'a>) -> Result<Self, PacketError> {
        if frame.magic != Magic::Rpc {
            return Err(PacketError::WrongMagic);
        }
        let mut packet = Self { user_fields: UserFields::of_meta(frame.meta), ..Self::default() };
        let mut attachment = (0, 0);
        for field in Fields::new(frame.meta) {
            let field = field?;
            match (field.number, field.value) {
                (5, Value::Varint(size)) => attachment = (int32(size), field.at),
                (_, Value::Varint(number)) => packet.read_number(&field, number),
                (_, Value::Bytes(bytes)) => packet.read_part(&field, bytes)?,
                (_, Value::Fixed) => {}
            }
        }
        // A size below 0 means that there is no attachment, as in brpc.
        let (says, at) = attachment;
        let size = usize::try_from(says).unwrap_or(0);
        let message = frame.rest.len().checked_sub(size).and_then(|message| frame.rest.split_at_checked(message));
        let too_large = PacketError::AttachmentTooLarge { says, has: frame.rest.len(), at };
        (packet.message, packet.attachment) = message.ok_or(too_large)?;
        Ok(packet)
    }

    fn read_number(&mut self, field: &Field<'a>, number: u64) {
        match field.number {
            3 => self.compress_type = Some(int32(number)),
            4 => self.correlation_id = Some(number.cast_signed()),
            10 => self.content_type = Some(int32(number)),
            11 => self.checksum.kind = Some(int32(number)),
            13 => self.checksum.with_attachment = Some(number != 0),
            _ => {}
        }
    }

    fn read_part(&mut self, field: &Field<'a>, bytes: &'a [u8]) -> Result<(), Malformed> {
        let (at, fields) = (field.at, field.fields(bytes));
        match field.number {
            1 => once(&mut self.request, at, Request::read(at, fields)?),
            2 => once(&mut self.response, at, Response::read(fields)?),
            6 => once(&mut self.chunk_info, at, ChunkInfo::read(at, fields)?),
            7 => {
                self.authentication_data = Some(bytes);
                Ok(())
            }
            8 => once(&mut self.stream_settings, at, StreamSettings::read(at, fields, bytes)?),
            UserFields::FIELD => fields.into_iter().try_for_each(|field| field.map(drop)),
            12 => {
                self.checksum.value = Some(bytes);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Writes the whole frame to `out`, and returns how many bytes were written. The fields come in the order of their
    /// numbers, as brpc writes them.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(out, &[self.message, self.attachment], 0)
    }

    /// Writes the head of the frame and the meta, and returns how many bytes were written. The caller must then send
    /// the message and the attachment, right after that. So neither of them has to be copied.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `out` are of no use then.
    pub fn encode_head(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.write(out, &[], self.message.len().saturating_add(self.attachment.len()))
    }

    /// Appends the whole frame to `out`, which grows at most once.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`]. `out` is as before then.
    #[cfg(feature = "alloc")]
    pub fn append(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        append(out, |out| self.encode(out))
    }

    /// Appends the head of the frame and the meta, as [`encode_head`](Self::encode_head) writes them.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    #[cfg(feature = "alloc")]
    pub fn append_head(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
        append(out, |out| self.encode_head(out))
    }

    /// Writes the meta and `rest`. The caller sends the remaining `unsent` bytes of message and attachment.
    fn write(&self, out: &mut [u8], rest: &[&[u8]], unsent: usize) -> Result<usize, EncodeError> {
        let too_large = EncodeError::TooLarge { bytes: self.attachment.len() };
        let attachment = i32::try_from(self.attachment.len()).map_err(|_| too_large)?;
        encode(Magic::Rpc, out, |out| self.write_meta(attachment, out), rest, unsent)
    }

    fn write_meta(&self, attachment: i32, out: &mut Writer<'_>) {
        if let Some(request) = &self.request {
            out.message(1, |out| request.write(out));
        }
        if let Some(response) = &self.response {
            out.message(2, |out| response.write(out));
        }
        out.number(3, self.compress_type.map(i64::from));
        out.number(4, self.correlation_id);
        out.number(5, (attachment > 0).then_some(i64::from(attachment)));
        if let Some(chunk) = &self.chunk_info {
            out.message(6, |out| chunk.write(out));
        }
        out.bytes(7, self.authentication_data);
        if let Some(settings) = &self.stream_settings {
            out.message(8, |out| settings.write(out));
        }
        for (name, value) in self.user_fields.iter() {
            out.message(UserFields::FIELD, |out| {
                out.bytes(1, Some(name));
                out.bytes(2, Some(value));
            });
        }
        out.number(10, self.content_type.map(i64::from));
        self.checksum.write(out);
    }

    /// How the message is written. A number that is not known means a protocol buffer, as in brpc.
    #[must_use]
    pub const fn content(&self) -> ContentType {
        match self.content_type {
            Some(1) => ContentType::Json,
            Some(2) => ContentType::ProtoJson,
            Some(3) => ContentType::ProtoText,
            _ => ContentType::Protobuf,
        }
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("request", &self.request)
            .field("response", &self.response)
            .field("compress_type", &self.compress_type)
            .field("correlation_id", &self.correlation_id)
            .field("chunk_info", &self.chunk_info)
            .field("authentication_data", &self.authentication_data.map(Bytes))
            .field("stream_settings", &self.stream_settings)
            .field("user_fields", &self.user_fields)
            .field("content_type", &self.content_type)
            .field("checksum", &self.checksum)
            .field("message", &Bytes(self.message))
            .field("attachment", &Bytes(self.attachment))
            .finish()
    }
}

/// Sets a part that may come once. Protocol buffers would merge two of them, and another reader of the same bytes might
/// take the first or the last; so two are refused.
pub(super) fn once<T>(part: &mut Option<T>, at: usize, read: T) -> Result<(), Malformed> {
    match part.replace(read) {
        Some(_) => Err(Malformed::Twice { at }),
        None => Ok(()),
    }
}

/// How a message is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ContentType {
    /// As a protocol buffer.
    #[default]
    Protobuf = 0,
    /// As JSON in brpc's own mapping.
    Json = 1,
    /// As JSON in the mapping of protocol buffers.
    ProtoJson = 2,
    /// In the text format of protocol buffers.
    ProtoText = 3,
}

/// Why a frame is not a packet. The connection is of no further use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PacketError {
    /// The frame is of the other kind: a frame of a stream where a packet is expected, or a packet where a frame of a
    /// stream is expected.
    WrongMagic,
    /// The meta is malformed.
    Meta(Malformed),
    /// The attachment, which is a part of the body, is larger than what follows the meta.
    AttachmentTooLarge {
        /// The attachment's size that the meta announces, in bytes.
        says: i32,
        /// How many bytes follow the meta.
        has: usize,
        /// The byte of the meta at which it announces this size.
        at: usize,
    },
}

impl PacketError {
    /// The byte at which the fault was found, counted from the start of the frame.
    #[must_use]
    pub const fn at(&self) -> usize {
        match self {
            Self::WrongMagic => 0,
            Self::Meta(malformed) => HEAD.saturating_add(malformed.at()),
            Self::AttachmentTooLarge { at, .. } => HEAD.saturating_add(*at),
        }
    }
}

impl From<Malformed> for PacketError {
    fn from(malformed: Malformed) -> Self {
        Self::Meta(malformed)
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongMagic => f.write_str("packet: the frame is of the other kind, PRPC or STRM"),
            Self::Meta(malformed) => write!(f, "packet: in its meta, {malformed}"),
            Self::AttachmentTooLarge { says, has, at } => {
                write!(
                    f,
                    "packet: byte {at} of its meta announces an attachment of {says} bytes, but {has} bytes follow"
                )
            }
        }
    }
}

impl core::error::Error for PacketError {}

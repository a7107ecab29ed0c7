//! The parts of a meta: [`Request`], [`Response`], [`StreamSettings`], [`ChunkInfo`] and [`Checksum`].

use super::lists::Ids;
use crate::protobuf::{Fields, Malformed, Value, Writer, int32};

/// What a request asks for. `None` means that the field is not on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request<'a> {
    /// The service, usually with its package: `example.EchoService`. It must not be empty.
    pub service: &'a str,
    /// The method. It must not be empty.
    pub method: &'a str,
    /// A number of the caller's for logs.
    pub log_id: Option<i64>,
    /// The trace to which the call belongs.
    pub trace_id: Option<i64>,
    /// The span of this call in the trace.
    pub span_id: Option<i64>,
    /// The span that made this call.
    pub parent_span_id: Option<i64>,
    /// A text of the caller's for logs.
    pub request_id: Option<&'a str>,
    /// How long the caller still waits, in milliseconds.
    pub timeout_ms: Option<i32>,
}

impl<'a> Request<'a> {
    /// Reads the part at that place of the meta.
    pub(super) fn read(at: usize, fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut request = Self::default();
        for field in fields {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Bytes(text)) => request.service = field.text(text)?,
                (2, Value::Bytes(text)) => request.method = field.text(text)?,
                (3, Value::Varint(id)) => request.log_id = Some(id.cast_signed()),
                (4, Value::Varint(id)) => request.trace_id = Some(id.cast_signed()),
                (5, Value::Varint(id)) => request.span_id = Some(id.cast_signed()),
                (6, Value::Varint(id)) => request.parent_span_id = Some(id.cast_signed()),
                (7, Value::Bytes(text)) => request.request_id = Some(field.text(text)?),
                (8, Value::Varint(time)) => request.timeout_ms = Some(int32(time)),
                _ => {}
            }
        }
        for (field, text) in [("service_name", request.service), ("method_name", request.method)] {
            if text.is_empty() {
                return Err(Malformed::Missing { field, at });
            }
        }
        Ok(request)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, Some(self.service.as_bytes()));
        out.bytes(2, Some(self.method.as_bytes()));
        out.number(3, self.log_id);
        out.number(4, self.trace_id);
        out.number(5, self.span_id);
        out.number(6, self.parent_span_id);
        out.bytes(7, self.request_id.map(str::as_bytes));
        out.number(8, self.timeout_ms.map(i64::from));
    }
}

/// How a call has ended at the server. `None` means that the field is not on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Response<'a> {
    /// The error code. No code and 0 mean success.
    pub error_code: Option<i32>,
    /// The error's text. It is bytes, since servers use different encodings.
    pub error_text: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    pub(super) fn read(fields: Fields<'a>) -> Result<Self, Malformed> {
        let mut response = Self::default();
        for field in fields {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(code)) => response.error_code = Some(int32(code)),
                (2, Value::Bytes(text)) => response.error_text = Some(text),
                _ => {}
            }
        }
        Ok(response)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.error_code.map(i64::from));
        out.bytes(2, self.error_text);
    }
}

/// The part of a larger message that a packet carries. brpc writes and reads no such parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChunkInfo {
    /// The message.
    pub stream_id: i64,
    /// Which part of the message.
    pub chunk_id: i64,
}

impl ChunkInfo {
    /// Reads the part at that place of the meta.
    pub(super) fn read(at: usize, fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut stream, mut chunk) = (None, None);
        for field in fields {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(id)) => stream = Some(id.cast_signed()),
                (2, Value::Varint(id)) => chunk = Some(id.cast_signed()),
                _ => {}
            }
        }
        Ok(Self {
            stream_id: stream.ok_or(Malformed::Missing { field: "stream_id", at })?,
            chunk_id: chunk.ok_or(Malformed::Missing { field: "chunk_id", at })?,
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        out.number(1, Some(self.stream_id));
        out.number(2, Some(self.chunk_id));
    }
}

/// The streams that a request opens, or that a response accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamSettings<'a> {
    /// The id of the first stream at the side that writes this.
    pub stream_id: i64,
    /// Whether that side wants to be told how much the other side has consumed.
    pub need_feedback: Option<bool>,
    /// Whether that side reads what is written to it.
    pub writable: Option<bool>,
    /// The ids of further streams.
    pub extra_stream_ids: Ids<'a>,
}

impl<'a> StreamSettings<'a> {
    /// Reads the part at that place of the meta, whose bytes these are.
    pub(super) fn read(at: usize, fields: Fields<'a>, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut settings = Self { extra_stream_ids: Ids::of_settings(bytes), ..Self::default() };
        let mut stream = None;
        for field in fields {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Varint(id)) => stream = Some(id.cast_signed()),
                (2, Value::Varint(flag)) => settings.need_feedback = Some(flag != 0),
                (3, Value::Varint(flag)) => settings.writable = Some(flag != 0),
                (Ids::FIELD, _) => field.numbers().try_for_each(|id| id.map(drop))?,
                _ => {}
            }
        }
        settings.stream_id = stream.ok_or(Malformed::Missing { field: "stream_id", at })?;
        Ok(settings)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        out.number(1, Some(self.stream_id));
        out.number(2, self.need_feedback.map(i64::from));
        out.number(3, self.writable.map(i64::from));
        for id in self.extra_stream_ids.iter() {
            out.number(Ids::FIELD, Some(id));
        }
    }
}

/// The checksum of a packet, as its meta says. `None` means that the field is not on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checksum<'a> {
    /// 0 for none and 1 for CRC-32C. A value of any other type cannot be checked.
    pub kind: Option<i32>,
    /// The value. It means nothing if there is no type. brpc's servers send such values back.
    pub value: Option<&'a [u8]>,
    /// Whether the attachment is summed as well.
    pub with_attachment: Option<bool>,
}

impl<'a> Checksum<'a> {
    /// The type of CRC-32C.
    pub const CRC32C: i32 = 1;

    /// No checksum, as brpc writes it.
    pub const NONE: Self = Self { kind: Some(0), value: Some(&[]), with_attachment: None };

    /// A CRC-32C of this value, which the caller has computed.
    #[must_use]
    pub fn of(value: &'a [u8; 4], with_attachment: bool) -> Self {
        Self { kind: Some(Self::CRC32C), value: Some(value), with_attachment: with_attachment.then_some(true) }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) {
        out.number(11, self.kind.map(i64::from));
        out.bytes(12, self.value);
        out.number(13, self.with_attachment.map(i64::from));
    }
}

//! Metas and messages in the text format of protocol buffers, on one line, as the tables write them.

use std::fmt::Write;

use hedge_wire::baidu_std::{Packet, Request, StreamFrame, StreamSettings};

/// The meta of a packet.
pub(super) fn of_packet(packet: &Packet<'_>) -> String {
    let mut text = Text::default();
    if let Some(request) = &packet.request {
        text.part("request", &of_request(request));
    }
    if let Some(response) = &packet.response {
        let mut inner = Text::default();
        inner.field("error_code", response.error_code);
        inner.string("error_text", response.error_text);
        text.part("response", &inner);
    }
    text.field("compress_type", packet.compress_type);
    text.field("correlation_id", packet.correlation_id);
    text.field("attachment_size", Some(packet.attachment.len()).filter(|size| *size > 0));
    if let Some(chunk) = packet.chunk_info {
        let mut inner = Text::default();
        inner.field("stream_id", Some(chunk.stream_id));
        inner.field("chunk_id", Some(chunk.chunk_id));
        text.part("chunk_info", &inner);
    }
    text.string("authentication_data", packet.authentication_data);
    if let Some(settings) = &packet.stream_settings {
        text.part("stream_settings", &of_settings(settings));
    }
    for (name, value) in packet.user_fields.iter() {
        let mut inner = Text::default();
        inner.string("key", Some(name));
        inner.string("value", Some(value));
        text.part("user_fields", &inner);
    }
    let content = ["CONTENT_TYPE_PB", "CONTENT_TYPE_JSON", "CONTENT_TYPE_PROTO_JSON", "CONTENT_TYPE_PROTO_TEXT"];
    text.field("content_type", named(packet.content_type, &content));
    text.field("checksum_type", packet.checksum.kind);
    text.string("checksum_value", packet.checksum.value);
    text.field("checksum_with_attachment", packet.checksum.with_attachment);
    text.0
}

fn of_request(request: &Request<'_>) -> Text {
    let mut text = Text::default();
    text.string("service_name", Some(request.service.as_bytes()));
    text.string("method_name", Some(request.method.as_bytes()));
    text.field("log_id", request.log_id);
    text.field("trace_id", request.trace_id);
    text.field("span_id", request.span_id);
    text.field("parent_span_id", request.parent_span_id);
    text.string("request_id", request.request_id.map(str::as_bytes));
    text.field("timeout_ms", request.timeout_ms);
    text
}

fn of_settings(settings: &StreamSettings<'_>) -> Text {
    let mut text = Text::default();
    text.field("stream_id", Some(settings.stream_id));
    text.field("need_feedback", settings.need_feedback);
    text.field("writable", settings.writable);
    for id in settings.extra_stream_ids.iter() {
        text.field("extra_stream_ids", Some(id));
    }
    text
}

/// The meta of a frame of a stream.
pub(super) fn of_stream(stream: &StreamFrame<'_>) -> String {
    let mut text = Text::default();
    text.field("stream_id", Some(stream.stream_id));
    text.field("source_stream_id", stream.source_stream_id);
    let kinds = ["FRAME_TYPE_UNKNOWN", "FRAME_TYPE_RST", "FRAME_TYPE_CLOSE", "FRAME_TYPE_DATA", "FRAME_TYPE_FEEDBACK"];
    text.field("frame_type", named(stream.frame_type, &kinds));
    text.field("has_continuation", stream.has_continuation);
    if stream.consumed.is_some() {
        let mut inner = Text::default();
        inner.field("consumed_size", stream.consumed);
        text.part("feedback", &inner);
    }
    text.0
}

/// The value of an enum by its name, and without a name as it is.
fn named(number: Option<i32>, names: &[&str]) -> Option<String> {
    let number = number?;
    let name = usize::try_from(number).ok().and_then(|index| names.get(index));
    Some(name.map_or_else(|| number.to_string(), |name| (*name).into()))
}

/// A message `probe.Res { 1: int32 seq, 2: string text, 3: bytes pad }`. `None` if the bytes are no such message.
pub(super) fn of_res(mut message: &[u8]) -> Option<String> {
    let mut text = Text::default();
    while let Some((tag, rest)) = message.split_first() {
        let (number, rest) = varint(rest)?;
        message = rest;
        match tag {
            0x08 => text.field("seq", Some(number)),
            0x12 | 0x1a => {
                let (bytes, rest) = message.split_at_checked(usize::try_from(number).ok()?)?;
                message = rest;
                text.string(if *tag == 0x12 { "text" } else { "pad" }, Some(bytes));
            }
            _ => return None,
        }
    }
    Some(text.0)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| *byte < 0x80).filter(|end| *end < 9)?;
    let (number, rest) = bytes.split_at_checked(end.saturating_add(1))?;
    Some((number.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)), rest))
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn field(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            let space = if self.0.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(self.0, "{space}{name}: {value}");
        }
    }

    fn string(&mut self, name: &str, value: Option<&[u8]>) {
        let escape = |byte: &u8| match byte {
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            b'\t' => "\\t".into(),
            b'"' | b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
            0x20..=0x7e => char::from(*byte).to_string(),
            _ => format!("\\{byte:03o}"),
        };
        self.field(name, value.map(|value| format!("\"{}\"", value.iter().map(escape).collect::<String>())));
    }

    fn part(&mut self, name: &str, inner: &Self) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = write!(self.0, "{space}{name} {{ {} }}", inner.0);
    }
}

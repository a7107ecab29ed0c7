//! Suite `brpc_client_frames`: what a brpc client writes, given its flags. The codec reads it, writes it again, and writes
//! the same from the flags alone.

use std::collections::HashMap;

use hedge_wire::baidu_std::{Checksum, Compression, Ids, Packet, Request, StreamSettings, UserFields, crc32c};
use serde::Deserialize;

use super::captures::restored;
use super::wire::{Carried, Read, Row, encoded};
use super::{Checked, bytes, same};

#[derive(Deserialize)]
pub(super) struct Case {
    flags: Vec<String>,
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    hex: String,
    frames: Vec<Row>,
}

pub(super) fn check(case: &Case) -> Checked {
    let flags = Flags::of(&case.flags)?;
    for connection in &case.connections {
        let wire = bytes(&connection.hex)?;
        let read = Read::of(&wire);
        read.compare(&connection.frames)?;
        for (index, (frame, carried)) in read.frames.iter().enumerate() {
            let Carried::Packet(packet) = carried else { return Err("a stream that no flag asks for".into()) };
            let came = encoded(|out| frame.encode(out))?;
            same("written from the flags", &came, &flags.written(packet, index == 0)?)?;
        }
    }
    Ok(None)
}

/// The flags that say what a client writes.
struct Flags<'c> {
    values: HashMap<&'c str, &'c str>,
    attachment: Vec<u8>,
}

/// Flags that say nothing about one request.
const OTHERS: [&str; 6] =
    ["protocol", "req", "n", "bvar_collector_expected_per_second", "timeout_ms", "baidu_protocol_use_fullname"];

impl<'c> Flags<'c> {
    const KNOWN: [&'static str; 13] = [
        "attach",
        "auth",
        "baidu_std_protocol_deliver_timeout_ms",
        "checksum",
        "checksum_attach",
        "compress",
        "content_type",
        "enable_rpcz",
        "log_id",
        "request_id",
        "stream",
        "stream_num",
        "user_fields",
    ];

    fn of(flags: &'c [String]) -> Result<Self, String> {
        let split = |flag: &'c String| {
            let flag = flag.trim_start_matches('-');
            flag.split_once('=').unwrap_or((flag, "true"))
        };
        let values: HashMap<_, _> = flags.iter().map(split).collect();
        let unknown = values.keys().find(|name| !Self::KNOWN.contains(name) && !OTHERS.contains(name));
        match unknown {
            Some(name) => Err(format!("flag {name} is unknown")),
            None => Ok(Self { attachment: bytes(values.get("attach").unwrap_or(&""))?, values }),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.values.get(name)?.parse().ok()
    }

    fn is(&self, name: &str) -> bool {
        self.values.get(name) == Some(&"true")
    }

    /// The request that these flags ask for. What no flag decides is taken from the request that came: ids that differ
    /// from run to run, and the message, whose compressed bytes depend on the compressor.
    fn written(&self, came: &Packet<'_>, is_first: bool) -> Result<Vec<u8>, String> {
        self.compressed(came)?;
        let id = came.correlation_id.ok_or("no correlation id")?;
        let is_short = self.values.get("baidu_protocol_use_fullname") == Some(&"false");
        let mut packet = Packet::request(if is_short { "Echo" } else { "probe.Echo" }, "Do", id);
        let traced = came.request.filter(|_| self.is("enable_rpcz"));
        packet.request = packet.request.map(|request| Request {
            log_id: self.number("log_id"),
            trace_id: traced.and_then(|traced| traced.trace_id),
            span_id: traced.and_then(|traced| traced.span_id),
            parent_span_id: traced.map(|_| 0),
            request_id: self.values.get("request_id").copied(),
            timeout_ms: self
                .is("baidu_std_protocol_deliver_timeout_ms")
                .then(|| self.number("timeout_ms").unwrap_or(200)),
            ..request
        });
        packet.compress_type = Some(self.number("compress").unwrap_or(0));
        packet.authentication_data = self.values.get("auth").filter(|_| is_first).map(|data| data.as_bytes());
        let mut fields: Vec<(&str, &[u8])> = self.values.get("user_fields").map_or_else(Vec::new, |fields| {
            let pairs = fields.split(',').filter_map(|field| field.split_once('='));
            pairs.map(|(name, value)| (name, value.as_bytes())).collect()
        });
        fields.sort_unstable();
        packet.user_fields = UserFields::of(&fields);
        let ids: Vec<i64> = (1..self.number("stream_num").unwrap_or(1)).collect();
        packet.stream_settings = self.values.get("stream").map(|_| StreamSettings {
            stream_id: 0,
            need_feedback: Some(true),
            writable: Some(true),
            extra_stream_ids: Ids::of(&ids),
        });
        packet.content_type = Some(self.number("content_type").unwrap_or(0));
        packet.message = came.message;
        packet.attachment = &self.attachment;
        let with_attachment = self.is("checksum_attach");
        let sum = crc32c(packet.message, with_attachment.then_some(packet.attachment));
        if self.values.contains_key("checksum") {
            packet.checksum = Checksum::of(&sum, with_attachment);
        }
        encoded(|out| packet.encode(out))
    }

    /// The message is restored, and what is compressed from it is restored as the same.
    fn compressed(&self, came: &Packet<'_>) -> Result<(), String> {
        let message = restored(came)?;
        let compression = came.compression().map_err(|error| error.to_string())?;
        same("compression", &self.number("compress").unwrap_or(0), &compression.number())?;
        let again = compression.compress_to_vec(&message).map_err(|error| error.to_string())?;
        let restored = compression.decompress_to_vec(&again, message.len()).map_err(|error| error.to_string())?;
        same("restored", &message, &restored)?;
        let is_smaller = compression == Compression::None || again.len() < message.len();
        if is_smaller { Ok(()) } else { Err(format!("{} bytes compressed to {}", message.len(), again.len())) }
    }
}

//! Suites `wire_captures` and `wire_server_responses`: what a brpc client sends, and what a brpc server answers.

use hedge_wire::baidu_std::{DEFAULT_MAX_BODY, Frame, FrameError, Packet, PacketError, Progress};
use serde::Deserialize;
use serde_json::Value;

use super::wire::{Carried, Read, Refused, meta_of, written_again};
use super::{Checked, bytes, same, verdict};
use crate::{Case, Verdict};

#[derive(Deserialize)]
struct Captures {
    captures: Vec<Value>,
}

#[derive(Deserialize)]
struct Capture {
    bytes_hex: String,
    body_size: usize,
    meta_size: usize,
    meta: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(crate) fn captures(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Captures = serde_json::from_str(text)?;
    Ok(table.captures.into_iter().map(capture).collect())
}

fn capture(value: Value) -> Case {
    match Named::deserialize(&value) {
        Ok(Named { name }) if name.starts_with("baidu_std ") => {
            let capture = serde_json::from_value(value).map_err(|error| error.to_string());
            verdict(name, capture.and_then(|capture| check_capture(&capture)))
        }
        Ok(Named { name }) => Case { name, verdict: Verdict::Differs { why: "not built".into() } },
        Err(error) => verdict(value.to_string(), Err(error.to_string())),
    }
}

/// One frame, or several frames of which the table describes only the first.
fn check_capture(capture: &Capture) -> Checked {
    let wire = bytes(&capture.bytes_hex)?;
    let read = Read::of(&wire);
    same("end", &Ok(0), &read.end)?;
    let (frame, carried) = read.frames.first().ok_or("no frame")?;
    let sizes = (frame.meta.len(), frame.meta.len().saturating_add(frame.rest.len()));
    same("sizes", &(capture.meta_size, capture.body_size), &sizes)?;
    same("meta", &capture.meta, &meta_of(carried))?;
    for (frame, carried) in &read.frames {
        written_again(frame, carried)?;
        if let Carried::Packet(packet) = carried {
            restored(packet)?;
        }
    }
    Ok(None)
}

/// The checksum is right and the message can be restored.
pub(super) fn restored(packet: &Packet<'_>) -> Result<Vec<u8>, String> {
    packet.verify().map_err(|error| error.to_string())?;
    let compression = packet.compression().map_err(|error| error.to_string())?;
    compression.decompress_to_vec(packet.message, DEFAULT_MAX_BODY).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Responses {
    cases: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    name: String,
    sent_hex: String,
    recv_hex: String,
    body_size: Option<usize>,
    meta_size: Option<usize>,
}

pub(crate) fn server_responses(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Responses = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(response).collect())
}

fn response(value: &Value) -> Case {
    match Response::deserialize(value) {
        Ok(response) => verdict(response.name.clone(), check_response(&response)),
        Err(error) => verdict(value.to_string(), Err(error.to_string())),
    }
}

fn check_response(response: &Response) -> Checked {
    let (sent, answer) = (bytes(&response.sent_hex)?, bytes(&response.recv_hex)?);
    let request = Read::of(&sent);
    if answer.is_empty() {
        // Where brpc's server says nothing, the codec says why.
        return match request.end {
            Err(Refused::Frame(FrameError::WrongMagic { .. } | FrameError::MetaTooLarge { .. })) => Ok(None),
            other => Err(format!("{other:?}, and no error")),
        };
    }
    let Ok(Progress::Done { frame, length }) = Frame::decode(&answer, DEFAULT_MAX_BODY) else {
        return Err("the answer is not a frame".into());
    };
    same("length of the answer", &answer.len(), &length)?;
    let sizes = (frame.meta.len(), frame.meta.len().saturating_add(frame.rest.len()));
    same("sizes", &(response.meta_size, response.body_size), &(Some(sizes.0), Some(sizes.1)))?;
    let answer = Packet::read(&frame).map_err(|error| error.to_string())?;
    written_again(&frame, &Carried::Packet(answer.into()))?;
    let error = answer.error();
    if let Err(Refused::Packet(PacketError::AttachmentTooLarge { .. })) = request.end {
        let text = error.map_or(&[][..], |error| error.text);
        let says = String::from_utf8_lossy(text).contains("attachment_size=");
        return if says { Ok(None) } else { Err("a request that is refused, but its server does not say so".into()) };
    }
    same("end of the request", &Ok(0), &request.end)?;
    let packets = request.packets();
    let [request] = packets.as_slice() else { return Err("not one request".into()) };
    same("id", &request.correlation_id, &answer.correlation_id)?;
    let restored = restored(&answer)?;
    // A server that echoes.
    let echoed = error.is_some() || restored == request.message;
    if echoed { Ok(None) } else { Err(format!("{:?} as an echo", restored.escape_ascii().to_string())) }
}

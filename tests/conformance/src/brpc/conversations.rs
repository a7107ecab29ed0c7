//! Suite `brpc_conversations`: whole connections between a brpc client and a server, both directions.

use hedge_wire::baidu_std::{ErrorCode, FrameType, Packet};
use serde::Deserialize;

use super::captures::restored;
use super::wire::{Carried, Read, Row};
use super::{Checked, bytes, same, text};

#[derive(Deserialize)]
pub(super) struct Case {
    connections: Vec<Vec<Said>>,
    outcome: Vec<Outcome>,
}

/// What a side says: bytes, or that it closes the connection.
#[derive(Deserialize)]
struct Said {
    from: Side,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    frames: Vec<Row>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Client,
    Server,
}

/// The result of a call or of a stream.
#[derive(Deserialize)]
struct Outcome {
    error_code: Option<i32>,
    error_text: Option<String>,
    res: Option<String>,
    stream_msg: Option<String>,
}

const ACCEPTED: &str = "the answer says success; brpc's client fails the call, since no stream was accepted";

pub(super) fn check(case: &Case) -> Checked {
    let mut heard = Heard::default();
    for connection in &case.connections {
        let mut ids = Vec::new();
        for said in connection {
            let wire = bytes(&said.hex)?;
            let read = Read::of(&wire);
            read.compare(&said.frames)?;
            for packet in read.packets() {
                restored(&packet)?;
                match said.from {
                    Side::Client => ids.push(packet.correlation_id),
                    Side::Server if ids.contains(&packet.correlation_id) => heard.answer(&packet)?,
                    Side::Server => return Err(format!("an answer to {:?} among {ids:?}", packet.correlation_id)),
                }
            }
            if said.from == Side::Server {
                heard.streams(&read);
            }
        }
    }
    case.outcome.iter().try_fold(None, |differs, outcome| Ok(differs.or(heard.compare(outcome)?)))
}

/// What the server has said, as the client reports it.
#[derive(Default)]
struct Heard {
    messages: Vec<String>,
    errors: Vec<(i32, String)>,
    streamed: Vec<Vec<u8>>,
}

impl Heard {
    fn answer(&mut self, packet: &Packet<'_>) -> Result<(), String> {
        match packet.error() {
            Some(error) => self.errors.push((error.code.0, String::from_utf8_lossy(error.text).into_owned())),
            None => self.messages.push(text::of_res(&restored(packet)?).ok_or("a message that is not a probe.Res")?),
        }
        Ok(())
    }

    fn streams(&mut self, read: &Read<'_>) {
        for (_, carried) in &read.frames {
            if let Carried::Stream(stream) = carried
                && stream.kind() == Some(FrameType::Data)
                && Read::of(stream.payload).frames.is_empty()
            {
                self.streamed.push(stream.payload.to_vec());
            }
        }
    }

    fn compare(&self, outcome: &Outcome) -> Checked {
        if let Some(message) = &outcome.stream_msg {
            return same("streamed", &true, &self.streamed.contains(&message.clone().into_bytes())).map(|()| None);
        }
        let (Some(code), Some(text)) = (outcome.error_code, &outcome.error_text) else { return Ok(None) };
        let res = outcome.res.as_deref().unwrap_or_default();
        let is_answer = self.messages.iter().any(|message| message == res);
        match ErrorCode(code) {
            ErrorCode(0) => same("message", &true, &is_answer).map(|()| None),
            // The client says so itself.
            ErrorCode::ERPCTIMEDOUT | ErrorCode::EHOSTDOWN => Ok(None),
            ErrorCode::EREQUEST if is_answer => Ok(Some(ACCEPTED)),
            ErrorCode(code) => {
                let said =
                    |(said, theirs): &(i32, String)| *said == code && text.ends_with(&format!("[E{said}]{theirs}"));
                same("code and text", &true, &self.errors.iter().any(said)).map(|()| None)
            }
        }
    }
}

//! Suite `brpc_server_answers`: the codec reads what was sent as a server does, and what came as a client does.

use hedge_wire::baidu_std::{ErrorCode, Packet};
use serde::Deserialize;

use super::captures::restored;
use super::wire::{Read, Refused, Row};
use super::{Checked, Step, bytes, joined, same};

#[derive(Deserialize)]
pub(super) struct Case {
    sent: Vec<Step>,
    recv_hex: String,
    closed: bool,
    #[serde(default)]
    frames: Vec<Row>,
}

/// Why a server that reads with this codec differs from brpc's server.
const CLOSES: &str =
    "P1: bytes that are no frame close their connection with an error; brpc's server stays silent and waits";

pub(super) fn check(case: &Case) -> Checked {
    let (sent, _) = joined(&case.sent)?;
    let came = bytes(&case.recv_hex)?;
    let answers = Read::of(&came);
    answers.compare(&case.frames)?;
    let requests = Read::of(&sent);
    let ids: Vec<i64> = requests.packets().iter().map(id).collect();
    for answer in answers.packets() {
        let request = requests.packets().into_iter().find(|request| id(request) == id(&answer));
        let request = request.ok_or_else(|| format!("an answer to {} among {ids:?}", id(&answer)))?;
        restored(&answer)?;
        refused_alike(&request, &answer)?;
    }
    match requests.end {
        Err(Refused::Packet(_)) => {
            same("closed", &case.closed, &true)?;
            Ok(None)
        }
        Err(Refused::Frame(_)) => Ok((!case.closed).then_some(CLOSES)),
        // An incomplete frame is waited for. A service may close the connection instead of an answer.
        Ok(0) if case.frames.is_empty() && !case.closed => Err("whole requests, and no answer".into()),
        Ok(_) => Ok(None),
    }
}

/// The id that an answer to this packet has. If this packet is an answer, its id.
fn id(packet: &Packet<'_>) -> i64 {
    packet.correlation_id.unwrap_or(0)
}

/// A message that brpc's server refuses for its checksum or compression is refused here too. No other message is
/// refused.
fn refused_alike(request: &Packet<'_>, answer: &Packet<'_>) -> Result<(), String> {
    let error = answer.error().filter(|error| error.code == ErrorCode::EREQUEST);
    let text = error.map_or_else(String::new, |error| String::from_utf8_lossy(error.text).into_owned());
    let theirs = (text.contains("ChecksumType=crc32c"), text.contains("CompressType=unknown"));
    let ours = (request.verify().is_err(), request.compression().is_err());
    same("refuses the checksum, the compression", &theirs, &ours)?;
    if error.is_none() {
        restored(request)?;
    }
    Ok(())
}

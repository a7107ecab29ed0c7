//! Suite `brpc_client_reactions`: what a client makes of the bytes that a server sends, as far as a codec decides it. What
//! a transport decides (connections, retries, time) is not built yet.

use std::collections::BTreeMap;

use hedge_wire::baidu_std::{ContentType, ErrorCode, Packet};
use serde::Deserialize;

use super::captures::restored;
use super::wire::{Carried, Read, Refused, written_again};
use super::{Checked, Step, bytes, joined, same, text};

#[derive(Deserialize)]
pub(super) struct Case {
    request_hex: String,
    reply: Vec<Step>,
    later_hex: Option<String>,
    outcome: Vec<Outcome>,
}

/// The result of the call.
#[derive(Deserialize)]
struct Outcome {
    error_code: i32,
    error_text: String,
    retried: u32,
    res: String,
    attachment_hex: String,
    #[serde(default)]
    user_fields: BTreeMap<String, String>,
}

const TRANSPORT: &str = "not built: what becomes of a connection and of its calls is the transport's to say";
const JSON: &str = "not built: the codec hands out a message in JSON as bytes";
const TYPED: &str = "not built: the codec hands out the message, and its reader finds that it is malformed";
const CLOSES: &str =
    "P1: a frame that contradicts itself closes its connection with an error; brpc fails one call or none";
const CORRUPT: &str = "P1: a message that does not inflate to its end is an error; brpc takes what inflates";
const FIRST: &str = "of two answers with one id the first counts; with brpc either may";

pub(super) fn check(case: &Case) -> Checked {
    let request = bytes(&case.request_hex)?;
    let read = Read::of(&request);
    let [(frame, carried @ Carried::Packet(packet))] = read.frames.as_slice() else { return Err("no request".into()) };
    written_again(frame, carried)?;
    let (reply, end) = joined(&case.reply)?;
    let outcome = case.outcome.first().ok_or("no outcome")?;
    let read = Read::of(&reply);
    let packets = read.packets();
    let mut answers = packets.iter().filter(|answer| answer.correlation_id == packet.correlation_id);
    let code = ErrorCode(outcome.error_code);
    match (answers.next(), read.end, end) {
        (Some(answer), ..) => {
            let second_won = answers.next().is_some_and(|second| text_of(second).as_ref() == Some(&outcome.res));
            if second_won { Ok(Some(FIRST)) } else { answered(case, outcome, packet, answer) }
        }
        (None, Err(Refused::Frame(_)), _) => same("code", &code, &ErrorCode::EINVAL).map(|()| None),
        (None, Err(Refused::Packet(_)), _) => Ok(Some(CLOSES)),
        (None, Ok(_), Some("close")) if outcome.retried == 0 => same("code", &code, &ErrorCode::EEOF).map(|()| None),
        (None, Ok(_), Some(_)) => Ok(Some(TRANSPORT)),
        (None, Ok(_), None) => same("code", &code, &ErrorCode::ERPCTIMEDOUT).map(|()| None),
    }
}

/// The call has an answer.
fn answered(case: &Case, outcome: &Outcome, request: &Packet<'_>, answer: &Packet<'_>) -> Checked {
    if let Some(error) = answer.error() {
        let text = format!("[E{}]{}", error.code.0, String::from_utf8_lossy(error.text));
        if outcome.retried == 0 {
            same("code and text", &(outcome.error_code, &outcome.error_text), &(error.code.0, &text))?;
            return Ok(None);
        }
        same("retries", &true, &(error.code.is_retried_by_brpc() && outcome.error_text.starts_with(&text)))?;
        return next_attempt(case, request).map(|()| None);
    }
    if answer.verify().is_err() || answer.compression().is_err() {
        return same("code", &ErrorCode(outcome.error_code), &ErrorCode::EREQUEST).map(|()| None);
    }
    if restored(answer).is_err() {
        same("code", &outcome.error_code, &0)?;
        return Ok(Some(CORRUPT));
    }
    if answer.content() != ContentType::Protobuf {
        return Ok(Some(JSON));
    }
    let Some(res) = text_of(answer) else {
        return same("code", &ErrorCode(outcome.error_code), &ErrorCode::EREQUEST).map(|()| Some(TYPED));
    };
    same("code", &outcome.error_code, &0)?;
    same("message", &outcome.res, &res)?;
    same("attachment", &bytes(&outcome.attachment_hex)?, &answer.attachment.to_vec())?;
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let fields = answer.user_fields.iter().map(|(name, value)| (lossy(name), lossy(value)));
    same("user fields", &outcome.user_fields, &fields.collect())?;
    Ok(None)
}

/// The message of an answer.
fn text_of(answer: &Packet<'_>) -> Option<String> {
    text::of_res(&restored(answer).ok()?)
}

/// The request of the next attempt is the first one with the next id.
fn next_attempt(case: &Case, request: &Packet<'_>) -> Result<(), String> {
    let later = bytes(case.later_hex.as_deref().ok_or("no later bytes")?)?;
    let read = Read::of(&later);
    let next = request.correlation_id.and_then(|id| id.checked_add(1));
    same("the next attempt", &vec![Packet { correlation_id: next, ..*request }], &read.packets())
}

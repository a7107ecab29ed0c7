//! Suites of what brpc's clients and servers have said to each other. Protocols that are not built say so.

mod answers;
mod captures;
mod conversations;
mod frames;
mod reactions;
mod text;
mod wire;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Case, Verdict};

pub(crate) use captures::{captures, server_responses};

pub(crate) fn client_frames(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    run(text, frames::check)
}

pub(crate) fn server_answers(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    run(text, answers::check)
}

pub(crate) fn client_reactions(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    run(text, reactions::check)
}

pub(crate) fn conversations(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    run(text, conversations::check)
}

#[derive(Deserialize)]
struct Table {
    cases: Vec<Value>,
}

/// What each case has.
#[derive(Deserialize)]
struct Named {
    name: String,
    protocol: String,
}

/// The error says why a case is not as the table says. If it differs on purpose, the value says why.
type Checked = Result<Option<&'static str>, String>;

fn run<T: DeserializeOwned>(text: &str, check: fn(&T) -> Checked) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.cases.into_iter().map(|case| one(case, check)).collect())
}

fn one<T: DeserializeOwned>(case: Value, check: fn(&T) -> Checked) -> Case {
    let Named { name, protocol } = match Named::deserialize(&case) {
        Ok(named) => named,
        Err(error) => return verdict(case.to_string(), Err(error.to_string())),
    };
    if protocol != "baidu_std" {
        return Case { name, verdict: Verdict::Differs { why: "not built".into() } };
    }
    let checked = serde_json::from_value(case).map_err(|error| error.to_string()).and_then(|case| check(&case));
    verdict(name, checked)
}

fn verdict(name: String, checked: Checked) -> Case {
    let verdict = match checked {
        Ok(None) => Verdict::Ok,
        Ok(Some(why)) => Verdict::Differs { why: why.into() },
        Err(got) => Verdict::Fail { expected: "as in the table".into(), got },
    };
    Case { name, verdict }
}

/// An error unless both are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: {got:?} instead of {expected:?}")) }
}

/// The bytes that a table writes in hexadecimal.
fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    crate::hashes::bytes(hex).ok_or_else(|| format!("{hex:?} is not hexadecimal"))
}

/// A step of a side that writes: bytes, a pause, a remark, or the end of the connection.
#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// The bytes of all steps, and how the connection ends, if it does.
fn joined(steps: &[Step]) -> Result<(Vec<u8>, Option<&str>), String> {
    let (mut all, mut end) = (Vec::new(), None);
    for step in steps {
        match step {
            Step::Text(text) if text == "close" || text == "rst" => end = Some(text.as_str()),
            Step::Text(hex) => all.extend(bytes(hex)?),
            Step::Other(_) => {}
        }
    }
    Ok((all, end))
}

//! Suites `rate_limited_policy_validation` and `rate_limited_policy_traces`: brpc's options, and its decisions in mode
//! `Cached`, in virtual time.

use hedge_core::limit::{RatioLimit, RatioMode, RatioOptions};
use hedge_core::policy::BackupPolicy;
use hedge_core::time::{Duration, Instant};
use serde::Deserialize;
use serde_json::Value;

use crate::{Case, compare};

#[derive(Deserialize)]
struct Validation {
    #[serde(default)]
    defaults: Option<Value>,
    #[serde(default)]
    validation: Vec<Options>,
    #[serde(default)]
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Options {
    opts: Value,
    ok: Value,
}

#[derive(Deserialize)]
struct Sequence {
    name: String,
    opts: Value,
    ops: Vec<String>,
}

pub(crate) fn validation(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Validation = serde_json::from_str(text)?;
    let defaults = table.defaults.map(|expected| {
        let got = read(expected, RatioMode::Exact).map(|options| options == RatioOptions::DEFAULT);
        compare("defaults".into(), &true, got)
    });
    let validation = table.validation.into_iter().map(|Options { opts, ok }| {
        let expected = match &ok {
            Value::Bool(true) => "valid",
            Value::String(text) if text.contains("warning") => "valid with a warning",
            _ => "invalid",
        };
        let got = match read(opts.clone(), RatioMode::Cached) {
            // Of what is valid the table names the warning only where that is the point.
            Ok(options) if expected != "valid" && options.update_interval.get() > options.window.get() => {
                "valid with a warning"
            }
            Ok(_) => "valid",
            Err(_) => "invalid",
        };
        compare(opts.to_string(), &expected, Ok(got))
    });
    let sequences = table.sequences.into_iter().map(|Sequence { name, opts, ops }| {
        match ops.iter().map(|op| step(op)).collect::<Result<Vec<_>, _>>() {
            Ok(steps) => judge(name, replay(opts, &steps), &steps),
            Err(error) => compare(name, &ops, Err(error)),
        }
    });
    Ok(defaults.into_iter().chain(validation).chain(sequences).collect())
}

#[derive(Deserialize)]
struct Table {
    traces: Vec<Value>,
}

#[derive(Deserialize)]
struct Trace {
    max_backup_ratio: f64,
    window_s: u32,
    update_interval_s: u32,
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    op: What,
    n: u64,
    #[serde(default)]
    allowed: Option<u64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
enum What {
    /// Decisions on a backup.
    #[serde(rename = "B")]
    Decide,
    /// Calls complete.
    #[serde(rename = "E")]
    Complete,
    /// Milliseconds pass.
    #[serde(rename = "W")]
    Wait,
}

pub(crate) fn traces(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    let case = |(index, trace): (usize, &Value)| {
        let name = trace.get("name").and_then(Value::as_str).map_or_else(|| format!("trace {index}"), str::to_owned);
        // One that is no trace is a failure of its own, and the others are run.
        match Trace::deserialize(trace) {
            Ok(trace) => trace.case(name),
            Err(error) => compare(name, &"a trace", Err(error.to_string())),
        }
    };
    Ok(table.traces.iter().enumerate().map(case).collect())
}

impl Trace {
    fn case(self, name: String) -> Case {
        let opts = serde_json::json!({
            "max_backup_ratio": self.max_backup_ratio,
            "window_size_seconds": self.window_s,
            "update_interval_seconds": self.update_interval_s,
        });
        let steps: Vec<Step> = self.ops.iter().map(|op| Step { what: op.op, n: op.n, allowed: op.allowed }).collect();
        judge(name, replay(opts, &steps), &steps)
    }
}

/// Holds what was allowed against the steps; where they do not say, whatever is, is right.
fn judge(name: String, got: Result<Vec<u64>, String>, steps: &[Step]) -> Case {
    let wanted = |step: &Step| step.allowed.filter(|_| step.what == What::Decide);
    let expected: Vec<u64> = match &got {
        Ok(got) => steps.iter().zip(got).map(|(step, got)| wanted(step).unwrap_or(*got)).collect(),
        Err(_) => steps.iter().filter_map(wanted).collect(),
    };
    compare(name, &expected, got)
}

/// As fine as there is: a trace may end just behind a window's edge.
const BUCKETS: usize = 256;

struct Step {
    what: What,
    n: u64,
    allowed: Option<u64>,
}

fn read(mut opts: Value, mode: RatioMode) -> Result<RatioOptions, String> {
    if let Value::Object(fields) = &mut opts {
        fields.insert("mode".into(), serde_json::to_value(mode).map_err(|error| error.to_string())?);
    }
    serde_json::from_value(opts).map_err(|error| error.to_string())
}

/// Does the steps; answers how much was allowed in each.
fn replay(opts: Value, steps: &[Step]) -> Result<Vec<u64>, String> {
    let options = read(opts, RatioMode::Cached)?;
    let limit = RatioLimit::<BUCKETS>::new(options);
    let mut now = Instant::ZERO;
    let does = |step: &Step| {
        match step.what {
            What::Decide => return (0..step.n).map(|_| u64::from(limit.may_back_up(now).is_ok())).sum(),
            What::Complete => (0..step.n).for_each(|_| limit.completed(now)),
            What::Wait => now = now + Duration::from_millis(step.n),
        }
        0
    };
    Ok(steps.iter().map(does).collect())
}

/// `DoBackup->true`, `20x DoBackup`, `50x OnRPCEnd`, `sleep 1.2s`.
fn step(text: &str) -> Result<Step, String> {
    let unknown = || format!("no such step: {text}");
    if let Some(seconds) = text.strip_prefix("sleep ").and_then(|rest| rest.strip_suffix('s')) {
        let seconds: Duration =
            seconds.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok()).ok_or_else(unknown)?;
        let n = u64::try_from(seconds.as_millis()).map_err(|_| unknown())?;
        return Ok(Step { what: What::Wait, n, allowed: None });
    }
    let (n, rest) = match text.split_once("x ") {
        Some((n, rest)) => (n.parse().map_err(|_| unknown())?, rest),
        None => (1, text),
    };
    let allowed = |all| if all { n } else { 0 };
    match rest {
        "OnRPCEnd" => Ok(Step { what: What::Complete, n, allowed: None }),
        "DoBackup" => Ok(Step { what: What::Decide, n, allowed: None }),
        "DoBackup->true" => Ok(Step { what: What::Decide, n, allowed: Some(allowed(true)) }),
        "DoBackup->false" => Ok(Step { what: What::Decide, n, allowed: Some(allowed(false)) }),
        _ => Err(unknown()),
    }
}

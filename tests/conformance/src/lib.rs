//! Replays tables of cases against the types that channels use and against the codecs, so that more cases can be run
//! without writing code.
//!
//! A suite reads a file of cases and answers a [`Verdict`] a case. Where a rule of this library differs from a table on
//! purpose, the suite says so by name and reason; it never skips silently.

mod breaker;
mod brpc;
mod endpoints;
mod excluded;
mod hashes;
mod la;
mod lifecycle;
mod line;
mod naming;
mod p2c;
mod ratio;
mod rings;
mod tokens;
mod weights;

use std::fmt;
use std::path::{Path, PathBuf};

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Ok,
    /// Not as expected.
    Fail {
        /// What the table says.
        expected: String,
        /// What the core did.
        got: String,
    },
    /// Not as the table says, on purpose.
    Differs {
        /// Why.
        why: String,
    },
}

/// One case, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The name in the table.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl Case {
    /// Whether the case failed.
    #[must_use]
    pub const fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Fail { .. })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.verdict {
            Verdict::Ok => write!(f, "ok {name}"),
            Verdict::Fail { expected, got } => write!(f, "FAIL {name} expected {expected} got {got}"),
            Verdict::Differs { why } => write!(f, "differs {name} {why}"),
        }
    }
}

type Suite = fn(&str) -> Result<Vec<Case>, serde_json::Error>;

/// The suites, by name.
const SUITES: &[(&str, Suite)] = &[
    ("brpc_client_frames", brpc::client_frames),
    ("brpc_client_reactions", brpc::client_reactions),
    ("brpc_conversations", brpc::conversations),
    ("brpc_server_answers", brpc::server_answers),
    ("circuit_breaker_traces", breaker::run),
    ("consistent_hash_rings", rings::run),
    ("endpoint_parse", endpoints::run),
    ("excluded_servers", excluded::run),
    ("file_naming_parse", naming::files),
    ("hash_vectors", hashes::run),
    ("la_weight_traces", la::run),
    ("lifecycle_cases", lifecycle::run),
    ("lifecycle_precise", lifecycle::run),
    ("list_naming_parse", naming::lists),
    ("naming_service_unit_cases", naming::units),
    ("p2c_ewma_traces", p2c::run),
    ("rate_limited_policy_traces", ratio::traces),
    ("rate_limited_policy_validation", ratio::validation),
    ("token_buckets", tokens::run),
    ("weight_tag_parse", weights::tags),
    ("wire_captures", brpc::captures),
    ("wire_server_responses", brpc::server_responses),
    ("wrr_sequences", weights::sequences),
];

/// A case that is ok if what came is what was expected.
fn compare<T: PartialEq + fmt::Debug>(name: String, expected: &T, got: Result<T, String>) -> Case {
    let verdict = match got {
        Ok(got) if got == *expected => Verdict::Ok,
        Ok(got) => Verdict::Fail { expected: format!("{expected:?}"), got: format!("{got:?}") },
        Err(got) => Verdict::Fail { expected: format!("{expected:?}"), got },
    };
    Case { name, verdict }
}

/// Runs the cases of one file.
///
/// # Errors
/// An unknown suite, a file that cannot be read, or one that is no table of that suite.
pub fn run(suite: &str, file: &Path) -> Result<Vec<Case>, Error> {
    let (_, cases) = SUITES.iter().find(|(name, _)| *name == suite).ok_or_else(|| Error::Suite(suite.into()))?;
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read(file.into(), source))?;
    cases(&text).map_err(|source| Error::Parse(file.into(), source))
}

/// Why no case was run.
#[derive(Debug)]
pub enum Error {
    /// There is no suite of that name.
    Suite(String),
    /// The file cannot be read.
    Read(PathBuf, std::io::Error),
    /// The file is no table of that suite.
    Parse(PathBuf, serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suite(name) => {
                let known: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
                write!(f, "no suite {name:?}; known are {}", known.join(", "))
            }
            Self::Read(file, source) => write!(f, "cannot read {}: {source}", file.display()),
            Self::Parse(file, source) => write!(f, "{} is no such table: {source}", file.display()),
        }
    }
}

impl std::error::Error for Error {}

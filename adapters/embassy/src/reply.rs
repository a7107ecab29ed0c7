//! The result of a call: a [`Reply`] or a [`CallError`].

use core::fmt;

use hedge_core::call::Report;
use hedge_core::id::ServerId;
use hedge_core::outcome::{Attempt, Code, End};
use hedge_core::policy::{AttemptError, ConfigError};

use crate::error::Error;
use crate::resources::Memory;
use crate::response::Response;

/// The response of a call, and the report of the call.
///
/// The response stays in the buffer of its attempt. The buffer is free for other attempts once the reply is dropped.
pub struct Reply<'r, R: Memory> {
    response: Response<'r, R>,
    report: Report,
}

/// The result of a call. `R` is the memory's type, as in `CallResult<'static, Memory>`.
pub type CallResult<'r, R> = Result<Reply<'r, R>, CallError<'r, R>>;

impl<'r, R: Memory> Reply<'r, R> {
    pub(crate) const fn new(response: Response<'r, R>, report: Report) -> Self {
        Self { response, report }
    }

    /// What happened in the call: its attempts, their servers, and how long each took.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The server that answered.
    pub fn server(&self) -> Option<ServerId> {
        self.report.attempts().get(self.report.winner()?.index()).map(Attempt::server)
    }

    /// The response without the report.
    pub fn into_response(self) -> Response<'r, R> {
        self.response
    }
}

impl<'r, R: Memory> core::ops::Deref for Reply<'r, R> {
    type Target = Response<'r, R>;

    fn deref(&self) -> &Self::Target {
        &self.response
    }
}

impl<R: Memory> fmt::Debug for Reply<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("response", &self.response).field("report", &self.report).finish()
    }
}

#[cfg(feature = "defmt")]
impl<R: Memory> defmt::Format for Reply<'_, R> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Reply {{ response: {}, report: {} }}", self.response, self.report);
    }
}

/// Why a call has no reply.
pub enum CallError<'r, R: Memory> {
    /// The call ended without an accepted response.
    Ended {
        /// How the call ended.
        end: End,
        /// The last failure, if an attempt has failed: an error, or a response that was not accepted. Such a response
        /// keeps its buffer until it is dropped.
        last: Option<Result<Response<'r, R>, Error>>,
        /// What happened in the call: its attempts, their servers, and how long each took.
        report: Report,
    },
    /// The options of the call are invalid, so no attempt was started. For example, `max_backups` may be at most 1.
    Config(ConfigError),
}

impl<'r, R: Memory> CallError<'r, R> {
    /// How the call ended; `None` if it did not start.
    pub const fn end(&self) -> Option<End> {
        match self {
            Self::Ended { end, .. } => Some(*end),
            Self::Config(_) => None,
        }
    }

    /// The report of the call; `None` if it did not start.
    pub const fn report(&self) -> Option<&Report> {
        match self {
            Self::Ended { report, .. } => Some(report),
            Self::Config(_) => None,
        }
    }

    /// The last failure; `None` if no attempt has failed.
    pub const fn last(&self) -> Option<&Result<Response<'r, R>, Error>> {
        match self {
            Self::Ended { last, .. } => last.as_ref(),
            Self::Config(_) => None,
        }
    }
}

impl<R: Memory> fmt::Display for CallError<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, report) = match self {
            Self::Ended { end, report, .. } => (end, report),
            Self::Config(error) => return write!(f, "config: {error}"),
        };
        write!(f, "{end} after {}", report.elapsed_micros())?;
        let Some((id, attempt)) = report.decisive().and_then(|id| Some((id, report.attempts().get(id.index())?)))
        else {
            return Ok(());
        };
        write!(f, ": attempt {id} at server {}", attempt.server())?;
        match self.last() {
            // The attempt was abandoned, so it has no result.
            _ if attempt.code() == Code::NONE => f.write_str(" had not answered"),
            Some(Err(error)) if attempt.code() == error.kind().into() => write!(f, ": {error}"),
            _ => write!(f, ": {}", attempt.code()),
        }
    }
}

impl<R: Memory> core::error::Error for CallError<'_, R> {}

impl<R: Memory> fmt::Debug for CallError<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { end, last, report } => {
                f.debug_struct("Ended").field("end", end).field("last", last).field("report", report).finish()
            }
            Self::Config(error) => f.debug_tuple("Config").field(error).finish(),
        }
    }
}

#[cfg(feature = "defmt")]
impl<R: Memory> defmt::Format for CallError<'_, R> {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Ended { end, last, report } => {
                defmt::write!(f, "Ended {{ end: {}, last: {}, report: {} }}", end, last, report);
            }
            Self::Config(error) => defmt::write!(f, "Config({})", error),
        }
    }
}

//! Why a call has no reply: [`CallError`].

use std::error::Error;
use std::fmt;

use hedge_core::outcome::{Attempt, Code, End, ErrorKind};
use hedge_core::policy::ConfigError;
use hedge_core::time::{Duration, Micros};
use hedge_fleet::{NamingError, Refusal, Report, Trace};

use crate::first_list::MissedList;

/// The last failure of a call: a reply that was not accepted, kept whole, or the transport's error.
pub type LastFailure<B, E> = Option<Result<B, E>>;

/// Why a call has no reply. Its text says what happened, in which attempt, at which server, and after how long
/// ([L16](hedge_core::rules#L16)).
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<B, E> {
    /// No attempt was accepted and no further one was possible.
    Failed {
        /// The last failure.
        last: LastFailure<B, E>,
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// No server would accept the request, for instance because it is malformed or unauthorised.
    Fatal {
        /// The failure.
        last: LastFailure<B, E>,
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// The deadline passed.
    Deadline {
        /// The last failure before it, if any attempt failed.
        last: LastFailure<B, E>,
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// The caller cancelled.
    Cancelled {
        /// The last failure before that, if any attempt failed.
        last: LastFailure<B, E>,
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// Nothing was started: the list of servers is empty.
    NoServer {
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// Nothing was started: the deadline passed before the source of the list said any servers
    /// ([N5](hedge_core::rules#N5)).
    NoList {
        /// The last error of the source, if it had one.
        error: Option<NamingError>,
        /// How long the call has waited.
        waited: Duration,
        /// The report of a call that started nothing.
        report: Box<Trace>,
    },
    /// Nothing was started: there are servers, and all are down.
    AllDown {
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// Nothing was started: every usable server has as many attempts in flight as it may have, and the call could not
    /// wait for room, or not any longer ([L22](hedge_core::rules#L22)). A later call may succeed.
    AllFull {
        /// The report of the call, with its servers.
        report: Box<Trace>,
    },
    /// An interceptor refused the call before it started, or one of its attempts ([I1](hedge_core::rules#I1)).
    Refused {
        /// The interceptor's own error.
        error: Refusal,
        /// The report of the call. It has no attempts if the call itself was refused.
        report: Box<Trace>,
    },
    /// Nothing was started: the call's options cannot be carried out.
    Config {
        /// What is wrong with the options.
        error: ConfigError,
        /// The report of a call that started nothing.
        report: Box<Trace>,
    },
}

impl<B, E> CallError<B, E> {
    pub(crate) fn ended(end: End, last: LastFailure<B, E>, trace: Trace) -> Self {
        let report = Box::new(trace);
        match end {
            // An error that the retry policy accepts is still no reply.
            End::Failed | End::Accepted => Self::Failed { last, report },
            End::Fatal => Self::Fatal { last, report },
            End::Deadline => Self::Deadline { last, report },
            End::Cancelled => Self::Cancelled { last, report },
            End::NoServer => Self::NoServer { report },
            End::AllDown => Self::AllDown { report },
            End::AllFull => Self::AllFull { report },
        }
    }

    pub(crate) fn no_list(missed: &MissedList, report: Report) -> Self {
        let report = Box::new(Trace::nowhere(report));
        Self::NoList { error: missed.error.clone(), waited: missed.waited, report }
    }

    /// What happened in the call.
    pub fn report(&self) -> &Report {
        self.trace()
    }

    /// The report, and the servers that the attempts went to.
    pub const fn trace(&self) -> &Trace {
        match self {
            Self::Failed { report, .. }
            | Self::Fatal { report, .. }
            | Self::Deadline { report, .. }
            | Self::Cancelled { report, .. }
            | Self::NoServer { report }
            | Self::NoList { report, .. }
            | Self::AllDown { report }
            | Self::AllFull { report }
            | Self::Refused { report, .. }
            | Self::Config { report, .. } => report,
        }
    }

    /// The last failure: a reply that was not accepted, or the transport's error.
    pub const fn last(&self) -> Option<&Result<B, E>> {
        match self {
            Self::Failed { last, .. }
            | Self::Fatal { last, .. }
            | Self::Deadline { last, .. }
            | Self::Cancelled { last, .. } => last.as_ref(),
            Self::NoServer { .. }
            | Self::NoList { .. }
            | Self::AllDown { .. }
            | Self::AllFull { .. }
            | Self::Refused { .. }
            | Self::Config { .. } => None,
        }
    }

    /// The last failure, taken out.
    pub fn into_last(self) -> LastFailure<B, E> {
        match self {
            Self::Failed { last, .. }
            | Self::Fatal { last, .. }
            | Self::Deadline { last, .. }
            | Self::Cancelled { last, .. } => last,
            Self::NoServer { .. }
            | Self::NoList { .. }
            | Self::AllDown { .. }
            | Self::AllFull { .. }
            | Self::Refused { .. }
            | Self::Config { .. } => None,
        }
    }

    /// The variant as a word, for metrics: `failed`, `fatal`, `deadline`, `cancelled`, `no_server`, `no_list`,
    /// `all_down`, `all_full`, `refused`, `config`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Fatal { .. } => "fatal",
            Self::Deadline { .. } => "deadline",
            Self::Cancelled { .. } => "cancelled",
            Self::NoServer { .. } => "no_server",
            Self::NoList { .. } => "no_list",
            Self::AllDown { .. } => "all_down",
            Self::AllFull { .. } => "all_full",
            Self::Refused { .. } => "refused",
            Self::Config { .. } => "config",
        }
    }
}

impl<B, E: fmt::Display> CallError<B, E> {
    /// Writes the attempt that decided the call, or else the last one that started: `: attempt 1 at 127.0.0.1:80:
    /// connection refused`.
    fn fmt_attempt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = self.trace();
        let Some(id) = trace.decisive() else { return Ok(()) };
        write!(f, ": attempt {id}")?;
        if let Some(server) = trace.server(id) {
            write!(f, " at {server}")?;
        }
        let code = trace.attempts().get(id.index()).map_or(Code::NONE, Attempt::code);
        match self.last() {
            // The attempt was abandoned, so its result is not known.
            _ if code == Code::NONE && matches!(self, Self::Deadline { .. } | Self::Cancelled { .. }) => {
                f.write_str(" had not answered")
            }
            Some(Err(error)) if code != Code::from(ErrorKind::ServerGone) => write!(f, ": {error}"),
            _ => write!(f, ": {code}"),
        }
    }
}

impl<B, E: fmt::Display> fmt::Display for CallError<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer { .. } => return f.write_str("no server: the list is empty"),
            Self::NoList { error, waited, .. } => {
                write!(f, "no list of servers after {}", Micros::from_duration(*waited))?;
                return error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"));
            }
            Self::AllDown { .. } => return f.write_str("all servers are down"),
            Self::AllFull { .. } => f.write_str("all servers are full")?,
            Self::Refused { error, .. } => return write!(f, "refused by an interceptor: {error}"),
            Self::Config { error, .. } => return write!(f, "config: {error}"),
            Self::Failed { .. } => f.write_str("failed")?,
            Self::Fatal { .. } => f.write_str("refused for good")?,
            Self::Deadline { .. } => f.write_str("deadline passed")?,
            Self::Cancelled { .. } => f.write_str("cancelled")?,
        }
        write!(f, " after {}", self.report().elapsed_micros())?;
        self.fmt_attempt(f)
    }
}

impl<B: fmt::Debug, E: Error + 'static> Error for CallError<B, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config { error, .. } => Some(error),
            // The message already includes the interceptor's error, but not the causes of that error.
            Self::Refused { error, .. } => error.source(),
            // The message already includes the source's error, but not the causes of that error.
            Self::NoList { error, .. } => error.as_ref()?.source(),
            // The message already includes the attempt's error, but not the causes of that error.
            _ => self.last()?.as_ref().err()?.source(),
        }
    }
}

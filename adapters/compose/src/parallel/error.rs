//! Why a call to several channels at once failed: [`ParallelError`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::outcome::Verdict;
use hedge_core::policy::ConfigError;
use hedge_fleet::{Outcome, SubCall, Trace};

use super::mapper::BoxError;
use super::parts::Parts;

/// Why a call to several channels at once failed, and the result of every part ([X2](hedge_core::rules#X2)).
pub struct ParallelError<Reply, E>(Box<Failed<Reply, E>>);

struct Failed<Reply, E> {
    cause: ParallelCause,
    parts: Parts<Reply, E>,
    trace: Trace,
}

/// Why a call to several channels at once failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ParallelCause {
    /// So many parts have failed that the limit is reached.
    TooManyFailed {
        /// How many parts have failed.
        failed: usize,
        /// The limit that was in force: `fail_limit`, but at most the number of parts that were sent.
        limit: usize,
    },
    /// The deadline passed, and parts were missing.
    Deadline,
    /// The caller cancelled the call.
    Cancelled,
    /// The mapper refused the call. Nothing was sent.
    Refused {
        /// The name of the sub-channel for which the mapper refused.
        part: Arc<str>,
        /// The error of the mapper.
        error: BoxError,
    },
    /// The mapper left every part out. Nothing was sent.
    AllSkipped,
    /// There are no sub-channels.
    NoChannels,
    /// The merger could not join the replies.
    Merge(BoxError),
    /// An option of the call cannot be carried out. Nothing was sent.
    Config(ConfigError),
}

impl<Reply, E> ParallelError<Reply, E> {
    #[cold]
    pub(super) fn new(cause: ParallelCause, parts: Parts<Reply, E>, trace: Trace) -> Self {
        Self(Box::new(Failed { cause, parts, trace }))
    }

    /// Returns why the call failed.
    pub const fn cause(&self) -> &ParallelCause {
        &self.0.cause
    }

    /// Returns the result of every part, in the order of the sub-channels.
    pub const fn parts(&self) -> &Parts<Reply, E> {
        &self.0.parts
    }

    /// Returns the result of every part, for a program that wants to own the replies.
    pub fn into_parts(self) -> Parts<Reply, E> {
        self.0.parts
    }

    /// Returns the cause as a word, for metrics: `failed`, `deadline`, `cancelled`, `refused`, `skipped`,
    /// `no_channels`, `merge`, `config`.
    pub const fn kind(&self) -> &'static str {
        match &self.0.cause {
            ParallelCause::TooManyFailed { .. } => "failed",
            ParallelCause::Deadline => "deadline",
            ParallelCause::Cancelled => "cancelled",
            ParallelCause::Refused { .. } => "refused",
            ParallelCause::AllSkipped => "skipped",
            ParallelCause::NoChannels => "no_channels",
            ParallelCause::Merge(_) => "merge",
            ParallelCause::Config(_) => "config",
        }
    }
}

/// If too many parts have failed, the verdict is `Retry`, because another channel may serve the call. If the verdicts
/// of all failed parts are `Fatal`, the verdict of the call is `Fatal` too. If the replies cannot be joined, the call
/// is not retried.
impl<Reply: Outcome, E: Outcome> Outcome for ParallelError<Reply, E> {
    fn trace(&self) -> &Trace {
        &self.0.trace
    }

    fn verdict(&self) -> Verdict {
        match &self.0.cause {
            ParallelCause::TooManyFailed { .. }
                if self.0.parts.failures().all(|(_, error)| error.verdict() == Verdict::Fatal) =>
            {
                Verdict::Fatal
            }
            ParallelCause::TooManyFailed { .. } | ParallelCause::NoChannels => Verdict::Retry,
            ParallelCause::Deadline | ParallelCause::Merge(_) => Verdict::Wait,
            ParallelCause::Cancelled
            | ParallelCause::Refused { .. }
            | ParallelCause::AllSkipped
            | ParallelCause::Config(_) => Verdict::Fatal,
        }
    }

    fn never_left(&self) -> bool {
        self.0.parts.never_left()
    }

    /// Returns true if there are no sub-channels, or if too many parts have failed and each of their sub-channels had
    /// no usable server.
    fn all_down(&self) -> bool {
        match &self.0.cause {
            ParallelCause::NoChannels => true,
            ParallelCause::TooManyFailed { .. } => self.0.parts.failures().all(|(_, error)| error.all_down()),
            _ => false,
        }
    }

    fn sub_calls(&self) -> Vec<SubCall> {
        self.0.parts.sub_calls()
    }
}

impl<Reply, E: fmt::Display> fmt::Display for ParallelError<Reply, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { cause, parts, trace } = &*self.0;
        match cause {
            ParallelCause::TooManyFailed { failed, limit } => {
                let after = trace.elapsed_micros();
                write!(f, "failed after {after}: {failed} of {} parts, and the limit is {limit}", parts.len())?;
                for (index, error) in parts.failures().take(1) {
                    let name = parts.get(index).map_or("", |part| &part.name);
                    write!(f, "; part {index} at {name}: {error}")?;
                }
                Ok(())
            }
            ParallelCause::Deadline => {
                let after = trace.elapsed_micros();
                write!(f, "deadline passed after {after}: {} of {} parts are missing", parts.missing(), parts.len())
            }
            ParallelCause::Cancelled => write!(f, "cancelled after {}", trace.elapsed_micros()),
            ParallelCause::Refused { part, error } => write!(f, "refused by the mapper for {part}: {error}"),
            ParallelCause::AllSkipped => f.write_str("the mapper left every part out"),
            ParallelCause::NoChannels => f.write_str("no sub-channels"),
            ParallelCause::Merge(error) => write!(f, "merging the replies: {error}"),
            ParallelCause::Config(error) => write!(f, "options of the call: {error}"),
        }
    }
}

impl<Reply: fmt::Debug, E: fmt::Debug> fmt::Debug for ParallelError<Reply, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParallelError")
            .field("cause", &self.0.cause)
            .field("parts", &self.0.parts)
            .field("trace", &self.0.trace)
            .finish()
    }
}

impl<Reply: fmt::Debug, E: Error + 'static> Error for ParallelError<Reply, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            ParallelCause::Config(error) => Some(error),
            // The message already includes these errors, but not their causes.
            ParallelCause::Merge(error) | ParallelCause::Refused { error, .. } => error.source(),
            ParallelCause::TooManyFailed { .. } => self.0.parts.failures().next()?.1.source(),
            _ => None,
        }
    }
}

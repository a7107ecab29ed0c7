//! Why a call has no response: [`Error`].

use std::any::Any;
use std::fmt;

use hedge_core::outcome::End;
use hedge_core::policy::ConfigError;

/// Any error that may move between threads. It is the same type as tower's `BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call has no response. `E` is the service's own error, which is kept unchanged.
///
/// This type converts into a [`BoxError`] for every `E`, even if `E` is a [`BoxError`]. [`Error::boxed`] converts too,
/// and keeps the source of the service's error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// No attempt succeeded, and no further attempt was possible. This is the last error of the service.
    Failed(E),
    /// The retry policy judged that no server would accept the request. This is the error of the service.
    Fatal(E),
    /// The deadline passed.
    Deadline {
        /// The last error before the deadline, if an attempt failed.
        last: Option<E>,
    },
    /// The call was cancelled by its signal.
    Cancelled {
        /// The last error before the cancel, if an attempt failed.
        last: Option<E>,
    },
    /// No attempt was started: the set is empty.
    NoServer,
    /// No attempt was started: the set has servers, but all of them are down.
    AllDown,
    /// No attempt was started: every usable server has as many attempts in flight as it may have
    /// ([L22](hedge_core::rules#L22)). There is no queue, or the queue was full, or the call has waited as long as it
    /// may. A later call may succeed.
    AllFull,
    /// The last attempt was not sent. Its server had left the set, or its request could not be copied.
    NotSent,
    /// No attempt was started: the options of the call are invalid.
    Config(ConfigError),
    /// The stream of changes of a [`Following`](crate::Following) set failed, or its changes could not be applied.
    Discover(BoxError),
}

impl<E> Error<E> {
    pub(crate) fn ended(end: End, last: Option<E>) -> Self {
        match (end, last) {
            (End::Deadline, last) => Self::Deadline { last },
            (End::Cancelled, last) => Self::Cancelled { last },
            (End::NoServer, _) => Self::NoServer,
            (End::AllDown, _) => Self::AllDown,
            (End::AllFull, _) => Self::AllFull,
            (End::Fatal, Some(error)) => Self::Fatal(error),
            // The retry policy may accept an error. The call still has no response then.
            (End::Failed | End::Accepted, Some(error)) => Self::Failed(error),
            (End::Failed | End::Accepted | End::Fatal, None) => Self::NotSent,
        }
    }

    /// The service's error, if an attempt failed.
    pub const fn service_error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) | Self::Fatal(error) => Some(error),
            Self::Deadline { last } | Self::Cancelled { last } => last.as_ref(),
            Self::NoServer | Self::AllDown | Self::AllFull | Self::NotSent | Self::Config(_) | Self::Discover(_) => {
                None
            }
        }
    }

    /// Takes the service's error out of this error, if an attempt failed.
    pub fn into_service_error(self) -> Option<E> {
        match self {
            Self::Failed(error) | Self::Fatal(error) => Some(error),
            Self::Deadline { last } | Self::Cancelled { last } => last,
            Self::NoServer | Self::AllDown | Self::AllFull | Self::NotSent | Self::Config(_) | Self::Discover(_) => {
                None
            }
        }
    }

    /// Converts this error into a [`BoxError`]. Its source is the source of the service's error.
    pub fn boxed(self) -> BoxError
    where
        E: Into<BoxError>,
    {
        let erased: Error<BoxError> = match self {
            Self::Failed(error) => Error::Failed(error.into()),
            Self::Fatal(error) => Error::Fatal(error.into()),
            Self::Deadline { last } => Error::Deadline { last: last.map(Into::into) },
            Self::Cancelled { last } => Error::Cancelled { last: last.map(Into::into) },
            Self::NoServer => Error::NoServer,
            Self::AllDown => Error::AllDown,
            Self::AllFull => Error::AllFull,
            Self::NotSent => Error::NotSent,
            Self::Config(error) => Error::Config(error),
            Self::Discover(error) => Error::Discover(error),
        };
        Box::new(erased)
    }

    /// The name of the variant in snake case, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Fatal(_) => "fatal",
            Self::Deadline { .. } => "deadline",
            Self::Cancelled { .. } => "cancelled",
            Self::NoServer => "no_server",
            Self::AllDown => "all_down",
            Self::AllFull => "all_full",
            Self::NotSent => "not_sent",
            Self::Config(_) => "config",
            Self::Discover(_) => "discover",
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("failed")?,
            Self::Fatal(_) => f.write_str("refused for good")?,
            Self::Deadline { .. } => f.write_str("deadline passed")?,
            Self::Cancelled { .. } => f.write_str("cancelled")?,
            Self::NoServer => f.write_str("no server: the set is empty")?,
            Self::AllDown => f.write_str("all servers are down")?,
            Self::AllFull => f.write_str("all servers are full")?,
            Self::NotSent => f.write_str("the request could not be sent")?,
            Self::Config(error) => write!(f, "config: {error}")?,
            Self::Discover(error) => write!(f, "discover: {error}")?,
        }
        match self.service_error() {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

// The bound is not `E: Error`, because a `BoxError` does not implement `Error`, and services of tower often use
// `BoxError`.
impl<E: fmt::Debug + fmt::Display + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text of this error already includes the service's error, but not the source of that error.
        match self {
            Self::Discover(error) => error.source(),
            _ => (self.service_error()? as &dyn Any).downcast_ref::<BoxError>()?.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot connect")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn every_end_is_an_error_of_its_own_that_keeps_the_services() {
        let kinds = [
            (End::Failed, "failed"),
            (End::Fatal, "fatal"),
            (End::Deadline, "deadline"),
            (End::Cancelled, "cancelled"),
            (End::Accepted, "failed"),
        ];
        for (end, kind) in kinds {
            let error = Error::ended(end, Some("why"));
            assert_eq!((error.kind(), error.service_error()), (kind, Some(&"why")));
            assert!(error.to_string().ends_with(": why"), "{error}");
            assert_eq!(error.into_service_error(), Some("why"));
        }
        for (end, kind) in [
            (End::NoServer, "no_server"),
            (End::AllDown, "all_down"),
            (End::AllFull, "all_full"),
            (End::Failed, "not_sent"),
        ] {
            assert_eq!(Error::<&str>::ended(end, None).kind(), kind);
        }
    }

    #[test]
    fn a_boxed_error_keeps_what_is_behind_it() {
        let outer = || Outer(std::io::ErrorKind::ConnectionRefused.into());
        for boxed in [Error::Failed(outer()).boxed(), BoxError::from(Error::Failed(BoxError::from(outer())))] {
            assert_eq!(boxed.to_string(), "failed: cannot connect");
            assert_eq!(boxed.source().map(ToString::to_string), Some("connection refused".into()));
        }
    }
}

//! Why a call has no reply: [`WayError`].

use std::error::Error;
use std::fmt;

use super::handle::ASYNC_CONTEXT;

/// Why a call has no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WayError<E> {
    /// The call failed. This is the caller's own error.
    Call(E),
    /// A blocking call was made on a thread that runs tasks of the call's runtime
    /// ([`Spawn::may_block`](hedge_fleet::Spawn::may_block)). Nothing was sent.
    AsyncContext,
    /// No runtime has accepted the call, or the runtime ended before the call did.
    NoRuntime,
    /// Code of the program panicked in the call, for example a filter. The panic was caught.
    Panicked,
}

impl<E> WayError<E> {
    /// Returns the caller's own error. Returns `None` if the call has none.
    pub fn into_call(self) -> Option<E> {
        match self {
            Self::Call(error) => Some(error),
            Self::AsyncContext | Self::NoRuntime | Self::Panicked => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for WayError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::AsyncContext => f.write_str(ASYNC_CONTEXT),
            Self::NoRuntime => f.write_str("no runtime has accepted the call, or the runtime ended before the call"),
            Self::Panicked => f.write_str("code of the program panicked in the call"),
        }
    }
}

impl<E: Error> Error for WayError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Call(error) => error.source(),
            Self::AsyncContext | Self::NoRuntime | Self::Panicked => None,
        }
    }
}

//! How long one attempt may take: [`AttemptTimeout`].

use crate::time::Duration;

/// How long one attempt may take in a [`Driver`](super::Driver) (L21): not limited, or perhaps a [`Duration`]. A type of its
/// own, so that a program without such a limit carries no code for it.
pub trait AttemptTimeout: sealed::Sealed {
    #[doc(hidden)]
    fn limit(&self) -> Option<Duration>;
}

/// No limit but the call's deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAttemptTimeout;

impl AttemptTimeout for NoAttemptTimeout {
    fn limit(&self) -> Option<Duration> {
        None
    }
}

impl AttemptTimeout for Option<Duration> {
    fn limit(&self) -> Self {
        *self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoAttemptTimeout {}
    impl Sealed for Option<super::Duration> {}
}

//! How long one attempt may take: [`AttemptTimeout`].

use crate::time::{Micros, Timeout};

/// How long one attempt may take in a [`Driver`](super::Driver) ([L21](crate::rules#L21)): [`NoAttemptTimeout`], or a
/// [`Timeout`]. The first is a type of its own, so that a program without such a limit carries no code for it.
pub trait AttemptTimeout: sealed::Sealed {
    #[doc(hidden)]
    fn limit(&self) -> Option<Micros>;
}

/// No limit but the call's deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAttemptTimeout;

impl AttemptTimeout for NoAttemptTimeout {
    fn limit(&self) -> Option<Micros> {
        None
    }
}

impl AttemptTimeout for Timeout {
    fn limit(&self) -> Option<Micros> {
        self.limit_micros()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoAttemptTimeout {}
    impl Sealed for super::Timeout {}
}

//! The time limit for one attempt: [`AttemptTimeout`].

use crate::time::{Micros, Timeout};

/// The time limit for each attempt in a [`Driver`](super::Driver) ([L21](crate::rules#L21)). The two implementations
/// are [`NoAttemptTimeout`] and [`Timeout`]. "No limit" is a separate type, so that a program without a limit contains
/// no code for limits.
pub trait AttemptTimeout: sealed::Sealed {
    #[doc(hidden)]
    fn limit(&self) -> Option<Micros>;
}

/// No time limit for single attempts. Only the call's deadline ends attempts.
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

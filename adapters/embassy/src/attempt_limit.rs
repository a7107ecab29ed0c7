//! How long one attempt may take: [`AttemptLimit`].

use hedge_core::drive::{AttemptTimeout, Driver, NoAttemptTimeout};
use hedge_core::time::{Instant, Timeout};

use crate::clock::Clock;

/// How long one attempt of a channel may take ([L21](hedge_core::rules#L21)): [`NoAttemptTimeout`], which is the
/// default, or a [`Timeout`], by [`Channel::with_attempt_timeout`](crate::Channel::with_attempt_timeout).
///
/// The two cases are two types, so that a program without an attempt timeout has no code and no memory for it.
pub trait AttemptLimit: AttemptTimeout + Copy {
    /// The type of the instant at which an attempt must end: `()` if there is no limit.
    #[doc(hidden)]
    type End: Copy;

    /// The instant at which an attempt must end, if it was started at `started`.
    #[doc(hidden)]
    fn end(self, started: Instant) -> Self::End;

    /// The earlier of both instants. Without a limit this is `other`.
    #[doc(hidden)]
    fn earlier(end: Self::End, other: Instant) -> Instant;

    /// Returns `driver` with this limit of each attempt.
    #[doc(hidden)]
    fn limit_attempts_of<J, C: Copy>(self, driver: Driver<'_, Clock, J, C>) -> Driver<'_, Clock, J, C, Self>;
}

impl AttemptLimit for NoAttemptTimeout {
    type End = ();

    fn end(self, _: Instant) {}

    fn earlier((): (), other: Instant) -> Instant {
        other
    }

    fn limit_attempts_of<J, C: Copy>(self, driver: Driver<'_, Clock, J, C>) -> Driver<'_, Clock, J, C> {
        driver
    }
}

impl AttemptLimit for Timeout {
    type End = Instant;

    fn end(self, started: Instant) -> Instant {
        Timeout::ends(self, started)
    }

    fn earlier(end: Instant, other: Instant) -> Instant {
        end.min(other)
    }

    fn limit_attempts_of<J, C: Copy>(self, driver: Driver<'_, Clock, J, C>) -> Driver<'_, Clock, J, C, Self> {
        driver.attempt_timeout(self)
    }
}

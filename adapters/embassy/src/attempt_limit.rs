//! How long one attempt may take: [`AttemptLimit`].

use hedge_core::drive::{AttemptTimeout, Driver, NoAttemptTimeout};
use hedge_core::time::{Instant, Timeout};

use crate::clock::Clock;

/// How long one attempt of a channel may take ([L21](hedge_core::rules#L21)): [`NoAttemptTimeout`], which is the default, or
/// a [`Timeout`], by [`Channel::with_attempt_timeout`](crate::Channel::with_attempt_timeout).
///
/// They are two types, so that a program without such a limit has no code and no memory for it.
pub trait AttemptLimit: AttemptTimeout + Copy {
    /// When the time of an attempt is up, if there is a limit.
    #[doc(hidden)]
    type End: Copy;

    /// When the time of an attempt is up that was started at `started`.
    #[doc(hidden)]
    fn end(self, started: Instant) -> Self::End;

    /// The earlier of both.
    #[doc(hidden)]
    fn earlier(end: Self::End, other: Instant) -> Instant;

    /// The driver with this limit.
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

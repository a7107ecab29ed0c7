//! embassy-time as the clock of calls: [`Clock`].

use core::future::Future;

use embassy_time::{TimeoutError, Timer, with_deadline};
use hedge_core::time::Instant;

/// embassy-time's clock, in whole microseconds since its start, and its timers.
///
/// A clock that ticks in anything but microseconds costs a division of 64 bits a look: the feature `tick-hz-1_000_000` of
/// embassy-time saves it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock;

impl hedge_core::drive::Timer for Clock {
    type Sleep = Timer;

    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    fn sleep_until(&self, at: Instant) -> Timer {
        Timer::at(on_embassy(at))
    }
}

/// An instant on embassy's clock, never early; what that clock cannot tell is its end.
fn on_embassy(at: Instant) -> embassy_time::Instant {
    // Half of all time is enough; embassy's rounding overflows at the end of the other half.
    let micros = Some(at.as_micros()).filter(|micros| *micros <= u64::MAX / 2);
    micros
        .and_then(embassy_time::Duration::try_from_micros)
        .and_then(|elapsed| embassy_time::Instant::MIN.checked_add(elapsed))
        .unwrap_or(embassy_time::Instant::MAX)
}

/// Waits for `future` until `deadline`.
pub(crate) fn before<F: Future>(deadline: Instant, future: F) -> impl Future<Output = Result<F::Output, TimeoutError>> {
    with_deadline(on_embassy(deadline), future)
}

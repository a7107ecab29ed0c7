//! embassy-time as the clock of calls: [`Clock`].

use core::future::Future;

use embassy_time::{TimeoutError, Timer, with_deadline};
use hedge_core::time::Instant;

/// embassy-time's clock and timers. Its times are whole microseconds since the clock's start.
///
/// If embassy-time's ticks are not microseconds, each reading of the clock costs a 64-bit division. The feature
/// `tick-hz-1_000_000` of embassy-time avoids this division.
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

/// An instant on embassy's clock, rounded up. An instant that is too late for that clock becomes the latest one it has.
fn on_embassy(at: Instant) -> embassy_time::Instant {
    // embassy's rounding overflows for the latest instants, so the later half of all instants is taken for the latest
    // one.
    let micros = Some(at.as_micros()).filter(|micros| *micros <= u64::MAX / 2);
    micros
        .and_then(embassy_time::Duration::try_from_micros)
        .and_then(|elapsed| embassy_time::Instant::MIN.checked_add(elapsed))
        .unwrap_or(embassy_time::Instant::MAX)
}

/// Waits for `future`, but not longer than until `deadline`.
pub(crate) fn before<F: Future>(deadline: Instant, future: F) -> impl Future<Output = Result<F::Output, TimeoutError>> {
    with_deadline(on_embassy(deadline), future)
}

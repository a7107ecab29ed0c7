//! Replaces the health options of a channel while the channel runs. The state of the servers is kept
//! ([H1](crate::rules#H1) to [H4](crate::rules#H4)).

use super::{
    AnyBreaker, BreakerOptions, CircuitState, Health, IsolationLimit, Recovering, RecoveryOptions, ServerHealth,
};
use crate::time::Instant;

impl Health<Recovering<AnyBreaker>> {
    /// Returns a [`Health`] with other options. It continues from the state of this one. A recovery that is running
    /// continues under the new recovery options, if there are any.
    ///
    /// Use the new health in this order. First select servers by the new health. Then call
    /// [`take_over`](Self::take_over) for each server. Then call [`changed`](Self::changed) once, since the new limit
    /// may be lower.
    pub fn replaced(
        &self,
        breaker: Option<BreakerOptions>,
        limit: IsolationLimit,
        recovery: Option<RecoveryOptions>,
    ) -> Self {
        let breaker = breaker.map_or(AnyBreaker::None, AnyBreaker::new);
        self.with_breaker(self.breaker().replaced(breaker, recovery), limit)
    }

    /// Adapts a server's breaker state, which was made by the breaker of `old`, to the breaker of this health.
    ///
    /// If both breakers are of the same kind, an isolated server stays isolated until the end of its isolation. There
    /// is one exception: if that end is more than 67 s later than the new longest isolation allows, the server is
    /// probed at once. Failures stay counted, unless the size or the percentage of a window has changed. In that case
    /// the failures are deleted.
    ///
    /// If the breaker was switched off or on, or is of another kind, no server is isolated at first, and the counts
    /// begin at 0.
    pub fn take_over(&self, old: &Self, server: &ServerHealth<Recovering<AnyBreaker>>, now: Instant) {
        self.breaker().inner().take_over(old.breaker().inner(), server.state(), now);
    }
}

impl AnyBreaker {
    fn take_over(&self, old: &Self, state: &CircuitState, now: Instant) {
        match (self, old) {
            (Self::None, Self::None) | (Self::ConsecutiveFailures(_), Self::ConsecutiveFailures(_)) => {}
            (Self::Circuit(new), Self::Circuit(old)) if new.counts_as(old) => {}
            (Self::Circuit(_), Self::Circuit(_)) => state.forget(),
            _ => {
                state.gate().lift(now, || {});
                state.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::bounded::{Bounded, BoundedSpan, SpanRange};
    use crate::health::{
        Breaker as _, BreakerChange, CircuitOptions, FailureOptions, IsolationOptions, Outcome, WindowOptions,
    };
    use crate::time::Duration;

    type Kind = Recovering<AnyBreaker>;

    const LATENCY: Duration = Duration::from_millis(1);
    const ISOLATION: IsolationOptions =
        IsolationOptions { times: SpanRange::of_millis::<10_000, 30_000>(), probes: Bounded::of::<1>() };
    const OF_CIRCUIT: CircuitOptions = CircuitOptions {
        short: WindowOptions::of::<10, 10>(),
        long: WindowOptions::of::<100, 50>(),
        isolation: ISOLATION,
    };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn in_a_row(failures: u32, isolation: IsolationOptions) -> Option<BreakerOptions> {
        let failures = Bounded::new(failures).unwrap();
        Some(BreakerOptions::ConsecutiveFailures(FailureOptions { failures, isolation }))
    }

    fn health(options: Option<BreakerOptions>) -> Health<Kind> {
        let breaker = options.map_or(AnyBreaker::None, AnyBreaker::new);
        Health::new(Recovering::new(breaker, None), IsolationLimit { selectable_percent: Bounded::of::<1>() })
    }

    fn replaced(old: &Health<Kind>, options: Option<BreakerOptions>) -> Health<Kind> {
        old.replaced(options, IsolationLimit { selectable_percent: Bounded::of::<1>() }, None)
    }

    fn fails(health: &Health<Kind>, server: &ServerHealth<Kind>, now: Instant) -> Option<BreakerChange> {
        health.breaker().finished(server.state(), now, Outcome::Failure { latency: LATENCY.into() }, || true)
    }

    #[test]
    fn h2_an_isolated_server_stays_isolated_until_the_end_that_was_set() {
        let (old, server) = (health(in_a_row(1, ISOLATION)), ServerHealth::new());
        assert_eq!(
            fails(&old, &server, at(1_000)),
            Some(BreakerChange::Isolated { isolation: Duration::from_secs(10) })
        );
        let until = old.isolated_until(&server, at(1_000)).unwrap();
        let shorter = IsolationOptions { times: SpanRange::of_millis::<10, 10>(), probes: Bounded::of::<1>() };
        let new = replaced(&old, in_a_row(7, shorter));
        new.take_over(&old, &server, at(2_000));
        assert_eq!(new.isolated_until(&server, at(2_000)), Some(until));
        assert!(!new.usable(&server, at(10_900)) && new.usable(&server, at(11_100)), "10 s, as was set");
        // The server is probed. If the probe fails, the new options determine how long the server is isolated.
        assert!(new.started(&server, at(11_100), false));
        assert_eq!(
            fails(&new, &server, at(11_101)),
            Some(BreakerChange::Isolated { isolation: Duration::from_millis(10) })
        );
    }

    #[test]
    fn h2_failures_in_a_row_go_on_counting_under_another_number() {
        let (old, server) = (health(in_a_row(5, ISOLATION)), ServerHealth::new());
        assert!((0..2).all(|_| fails(&old, &server, at(1)).is_none()));
        let new = replaced(&old, in_a_row(3, ISOLATION));
        new.take_over(&old, &server, at(1));
        assert!(fails(&new, &server, at(2)).is_some(), "the third");
    }

    #[test]
    fn h2_a_breaker_that_was_off_or_of_another_kind_begins_closed_with_nothing_counted() {
        let kinds = [in_a_row(2, ISOLATION), Some(BreakerOptions::Circuit(OF_CIRCUIT)), None];
        for (before, after) in kinds.iter().flat_map(|before| kinds.map(|after| (*before, after))) {
            let (old, server) = (health(before), ServerHealth::new());
            let isolated = (0..100).any(|ms| fails(&old, &server, at(ms)).is_some());
            assert_eq!((isolated, old.usable(&server, at(100))), (before.is_some(), before.is_none()));
            let new = replaced(&old, after);
            new.take_over(&old, &server, at(100));
            if before == after {
                assert_eq!(new.usable(&server, at(100)), before.is_none(), "{before:?}");
                continue;
            }
            assert!(new.usable(&server, at(100)), "{before:?}, then {after:?}");
            if after.is_some() {
                assert_eq!(fails(&new, &server, at(101)), None, "the first failure of {after:?} after {before:?}");
            }
        }
    }

    #[test]
    fn h2_other_windows_count_anew_and_others_of_the_same_size_go_on() {
        let counted = |to: CircuitOptions| {
            let (old, server) = (health(Some(BreakerOptions::Circuit(OF_CIRCUIT))), ServerHealth::new());
            assert_eq!(fails(&old, &server, at(1)), None, "one of ten may fail");
            let new = replaced(&old, Some(BreakerOptions::Circuit(to)));
            new.take_over(&old, &server, at(1));
            fails(&new, &server, at(2)).is_some()
        };
        let isolation = IsolationOptions { probes: Bounded::of::<3>(), ..ISOLATION };
        assert!(counted(CircuitOptions { isolation, ..OF_CIRCUIT }), "the second failure");
        let short = WindowOptions::of::<11, 10>();
        assert!(!counted(CircuitOptions { short, ..OF_CIRCUIT }), "the first failure of a new window");
    }

    #[test]
    fn h3_a_return_goes_on_under_other_options() {
        let of = |min_working| {
            let min_working = Bounded::new(min_working).unwrap();
            Some(RecoveryOptions { min_working, hold: BoundedSpan::of_secs::<3>() })
        };
        let limit = IsolationLimit::DEFAULT;
        let old = health(None).replaced(None, limit, of(4));
        old.all_down(at(10));
        let new = old.replaced(None, limit, of(2));
        assert!(!old.admit(at(20), || 1, || u32::MAX / 3), "a quarter of the calls");
        assert!(new.admit(at(20), || 1, || u32::MAX / 3), "half of them");
        assert!(!new.admit(at(20), || 1, || u32::MAX));
        assert!(old.replaced(None, limit, None).admit(at(20), || 1, || u32::MAX), "switched off");
        assert!(health(None).replaced(None, limit, of(2)).admit(at(20), || 1, || u32::MAX), "switched on");
    }

    #[test]
    fn h4_a_lower_limit_lets_servers_return() {
        let old = health(in_a_row(1, ISOLATION));
        let servers: Vec<ServerHealth<Kind>> = (0..4).map(|_| ServerHealth::new()).collect();
        for server in servers.iter().take(3) {
            assert!(fails(&old, server, at(1)).is_some());
        }
        let new =
            old.replaced(in_a_row(1, ISOLATION), IsolationLimit { selectable_percent: Bounded::of::<50>() }, None);
        servers.iter().for_each(|server| new.take_over(&old, server, at(2)));
        new.changed(at(2), || servers.iter());
        assert_eq!(servers.iter().filter(|server| new.usable(server, at(2))).count(), 2);
    }
}

//! What breakers share: a server's isolation, its counts, and who may isolate one more.

use crate::bounded::{Bounded, BoundedSpan};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Instant, Micros, Timeout};
use loom::sync::Arc;

use super::{at, granted};
use crate::check::{check, together};
use crate::health::{
    Breaker, BreakerChange, CircuitBreaker, CircuitOptions, CircuitState, ConsecutiveFailures, FailureOptions,
    FailureState, Health, IsolationLimit, IsolationOptions, Outcome, RecoveryOptions, RecoveryPolicy, ServerHealth,
    WindowOptions,
};

pub(super) fn all() {
    gates();
    circuits();
    limits();
    recoveries();
}

const LATENCY: Micros = Micros::from_millis(1);
const SUCCESS: Outcome = Outcome::Success { latency: LATENCY };
const FAILURE: Outcome = Outcome::Failure { latency: LATENCY };
const ABANDONED: Outcome = Outcome::Uncounted { age: LATENCY };
const NOW: Instant = Instant::from_millis(10);
/// The isolation that begins at [`NOW`] is over.
const PROBED: Instant = Instant::from_millis(10 + 102);
/// A probe that began then has answered.
const ANSWERED: Instant = Instant::from_millis(10 + 104);

/// A breaker and a server under it.
#[derive(Debug)]
struct Server<K: Breaker> {
    breaker: K,
    state: K::State,
}

impl<K: Breaker> Server<K> {
    fn hears(&self, now: Instant, outcome: Outcome) -> Option<BreakerChange> {
        self.breaker.finished(&self.state, now, outcome, || true)
    }

    fn starts(&self, now: Instant) -> bool {
        self.breaker.started(&self.state, now, false)
    }

    fn usable(&self, now: Instant) -> bool {
        self.breaker.usable(&self.state, now)
    }
}

type Failing = Server<ConsecutiveFailures>;

/// One that is isolated after so many failures in a row, and has succeeded once.
fn failing(failures: u32, probes: u32) -> Failing {
    let failures = Bounded::new(failures).expect("a number of failures");
    let probes = Bounded::new(probes).expect("a number of probes");
    let isolation = IsolationOptions { probes, ..IsolationOptions::DEFAULT };
    let breaker = ConsecutiveFailures::new(FailureOptions { failures, isolation });
    let server = Server { breaker, state: FailureState::default() };
    assert_eq!(server.hears(at(1), SUCCESS), None);
    server
}

/// One that is isolated.
fn isolated(probes: u32) -> Failing {
    let server = failing(1, probes);
    assert!(matches!(server.hears(NOW, FAILURE), Some(BreakerChange::Isolated { .. })));
    assert!(!server.usable(NOW) && server.usable(PROBED));
    server
}

/// What has changed, of all that two were answered.
fn changes(answers: Vec<Option<BreakerChange>>) -> Vec<BreakerChange> {
    answers.into_iter().flatten().collect()
}

fn gates() {
    check("breaker: of two failures that are each enough one isolates", || {
        let server = Arc::new(failing(1, 1));
        let fails = |server: &Failing| server.hears(NOW, FAILURE);
        let changes = changes(together(&server, [fails, fails]));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(!server.usable(NOW) && server.usable(PROBED));
    });
    check("breaker: two failures in a row are two", || {
        let server = Arc::new(failing(3, 1));
        let fails = |server: &Failing| server.hears(NOW, FAILURE);
        assert_eq!(changes(together(&server, [fails, fails])), []);
        assert!(matches!(server.hears(NOW, FAILURE), Some(BreakerChange::Isolated { .. })));
    });
    check("breaker: of two who want to probe one does", || {
        let server = Arc::new(isolated(1));
        let probes = |server: &Failing| server.starts(PROBED);
        assert_eq!(granted(&together(&server, [probes, probes])), 1);
        assert!(!server.usable(PROBED));
        assert_eq!(server.hears(ANSWERED, SUCCESS), Some(BreakerChange::Returned));
        assert!(server.usable(ANSWERED));
    });
    check("breaker: a probe that is withdrawn leaves its place, at once or to the next", || {
        let server = Arc::new(isolated(1));
        assert!(server.starts(PROBED));
        let withdraws = |server: &Failing| server.hears(PROBED, Outcome::Uncounted { age: Micros::ZERO }).is_some();
        let answers = together(&server, [withdraws, |server| server.starts(PROBED)]);
        assert_eq!(server.usable(PROBED), granted(&answers) == 0);
    });
    check("breaker: of two probes the first that ends decides", || {
        let server = Arc::new(isolated(2));
        assert!(server.starts(PROBED) && server.starts(PROBED) && !server.starts(PROBED));
        let (succeeds, fails) =
            (|server: &Failing| server.hears(ANSWERED, SUCCESS), |server: &Failing| server.hears(ANSWERED, FAILURE));
        let changes = changes(together(&server, [succeeds, fails]));
        match changes[..] {
            // The failure came first, or was counted after the return: then it isolates, as one is enough here.
            [BreakerChange::Isolated { .. }] | [BreakerChange::Returned, BreakerChange::Isolated { .. }] => {
                assert!(!server.usable(ANSWERED));
            }
            // It was heard while the server returned.
            [BreakerChange::Returned] => assert!(server.usable(ANSWERED)),
            _ => panic!("{changes:?}"),
        }
    });
    check("breaker: a probe's end and another that is abandoned leave no place taken", || {
        let server = Arc::new(isolated(2));
        assert!(server.starts(PROBED) && server.starts(PROBED));
        let (fails, abandons) =
            (|server: &Failing| server.hears(ANSWERED, FAILURE), |server: &Failing| server.hears(ANSWERED, ABANDONED));
        let answers = together(&server, [fails, abandons]);
        assert!(matches!(answers[..], [Some(BreakerChange::Isolated { .. }), None]), "{answers:?}");
        let again = at(10 + 104 + 202);
        assert!(server.starts(again) && server.starts(again) && !server.starts(again), "two places");
    });
}

type Circuit = Server<CircuitBreaker>;

/// A server that stands two failures of its first ten calls.
fn circuit() -> Arc<Circuit> {
    let window = WindowOptions::of::<10, 20>();
    let options = CircuitOptions { short: window, long: window, ..CircuitOptions::DEFAULT };
    let breaker = CircuitBreaker::new(options);
    let server = Server { breaker, state: CircuitState::default() };
    assert_eq!(server.hears(at(1), SUCCESS), None);
    Arc::new(server)
}

fn circuits() {
    check("circuit breaker: of the first calls every failure counts, whatever ends at once", || {
        let server = circuit();
        let fails = |server: &Circuit| server.hears(NOW, FAILURE);
        assert_eq!(changes(together(&server, [fails, fails])), []);
        assert!(matches!(server.hears(NOW, FAILURE), Some(BreakerChange::Isolated { .. })));
    });
    check("circuit breaker: of two failures too many one isolates", || {
        let server = circuit();
        let fails = |server: &Circuit| server.hears(NOW, FAILURE);
        assert_eq!((fails(&server), fails(&server)), (None, None));
        let changes = changes(together(&server, [fails, fails]));
        assert_eq!(changes.len(), 1, "{changes:?}");
    });
}

/// Servers of which one failure isolates one, and half stay.
#[derive(Debug)]
struct Fleet<const N: usize> {
    health: Health<ConsecutiveFailures>,
    servers: [ServerHealth<ConsecutiveFailures>; N],
}

impl<const N: usize> Fleet<N> {
    fn new() -> Arc<Self> {
        let breaker =
            ConsecutiveFailures::new(FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT });
        let limit = IsolationLimit { selectable_percent: Bounded::of::<50>() };
        let health = Health::new(breaker, limit);
        let fleet = Self { health, servers: std::array::from_fn(|_| ServerHealth::new()) };
        // All that is shared is touched, and nobody isolated after it.
        for slot in 0..N {
            assert!(fleet.ends(slot, at(0), Feedback::Failure { latency: LATENCY }).is_some());
            assert!(fleet.health.started(&fleet.servers[slot], at(200), false));
            let answer = Feedback::Success { latency: LATENCY };
            assert_eq!(fleet.ends(slot, at(201), answer), Some(BreakerChange::Returned));
        }
        Arc::new(fleet)
    }

    fn ends(&self, slot: usize, now: Instant, feedback: Feedback) -> Option<BreakerChange> {
        let sent = SentAttempt {
            server: ServerId::default(),
            at: at(0),
            attempt: AttemptId::FIRST,
            max_retry: 0,
            timeout: Timeout::NEVER,
        };
        let attempt = sent.finished(now, feedback, Code::NONE);
        self.health.finished(&self.servers[slot], &attempt, || self.servers.iter())
    }

    fn fails(&self, slot: usize) -> bool {
        self.ends(slot, at(300), Feedback::Failure { latency: LATENCY }).is_some()
    }

    fn breaks(&self, slot: usize) -> bool {
        self.health.set_broken(&self.servers[slot], true, at(300), || self.servers.iter());
        false
    }

    fn usable(&self) -> usize {
        self.servers.iter().filter(|server| self.health.usable(server, at(300))).count()
    }
}

fn limits() {
    check("h4: two who isolate at once keep to the limit together", || {
        let fleet = Fleet::<2>::new();
        let answers = together(&fleet, [|fleet| fleet.fails(0), |fleet| fleet.fails(1)]);
        assert_eq!((granted(&answers), fleet.usable()), (1, 1));
        assert!(!fleet.fails(0) && !fleet.fails(1), "nor later");
        assert_eq!(fleet.usable(), 1);
    });
    check("h4: a connection that breaks while a server is isolated leaves half of the others", || {
        let fleet = Fleet::<2>::new();
        together(&fleet, [|fleet| fleet.fails(0), |fleet| fleet.breaks(1)]);
        assert_eq!(fleet.usable(), 1);
    });
}

fn recoveries() {
    check("h3: an outage that begins as another ends begins", || {
        let options = RecoveryOptions { min_working: Bounded::of::<2>(), hold: BoundedSpan::of_secs::<1>() };
        let policy = RecoveryPolicy::new(options);
        policy.all_down(at(0));
        policy.admit(at(1), 1, 0);
        assert!(policy.is_recovering());
        let policy = Arc::new(policy);
        let ends = |policy: &RecoveryPolicy| {
            policy.admit(at(3_000), 1, u32::MAX);
        };
        together(&policy, [ends, |policy| policy.all_down(at(3_000))]);
        assert!(policy.is_recovering());
    });
}

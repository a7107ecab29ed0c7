//! Faults on purpose: how many, how long, and what hedging makes of them. Time is virtual.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[allow(dead_code, reason = "hedge-fleet's own, not all of which is used here")]
#[path = "../../fleet/src/testing.rs"]
mod testing;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hedge_compose::{FaultOptions, Faults};
use hedge_core::bounded::Ratio;
use hedge_core::drive::{Along, AttemptInfo, CallAlong, CallFailure, SendTransport, Timer as _};
use hedge_core::id::IdempotencyKey;
use hedge_core::outcome::{Denial, End, ErrorKind};
use hedge_core::policy::{BackupPolicy, Idempotency};
use hedge_core::time::{Duration, Instant};
use hedge_fleet::{CallHost, CallOptions, run};
use testing::{Clock, Failed, Line};

/// Connects, which takes a while, and answers each attempt then. It counts the attempts.
#[derive(Clone)]
struct Connects {
    clock: Clock,
    takes: Duration,
    sent: Arc<AtomicUsize>,
    /// What the last attempt was told.
    told: Arc<Mutex<Option<AttemptInfo<u16>>>>,
}

impl SendTransport for Connects {
    type Address = u16;
    type Request = ();
    type Reply = u16;
    type Error = Failed;

    async fn start(&self, (): &(), attempt: AttemptInfo<u16>) -> Result<u16, Failed> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        *self.told.lock().unwrap() = Some(attempt);
        let connected = self.clock.now() + self.takes;
        let limit = attempt.connect_deadline.unwrap_or(Instant::NEVER);
        self.clock.sleep_until(connected.min(limit)).await;
        if connected <= limit { Ok(attempt.address) } else { Err(Failed(ErrorKind::ConnectTimeout)) }
    }

    fn idempotency(&self, (): &()) -> Idempotency {
        Idempotency::Idempotent
    }
}

type Faulty = Faults<Connects, Clock, fn() -> Result<u16, Failed>>;

struct World {
    line: Arc<Line>,
    inner: Connects,
    faulty: Arc<Faulty>,
}

/// How a call ended, and after how many milliseconds. The result is whether it has a reply.
type Ended = (Result<(), End>, u64);

impl World {
    /// The servers are connected to at once.
    fn new(options: FaultOptions) -> Self {
        Self::connecting(options, Duration::ZERO)
    }

    /// To connect to a server takes so long.
    fn connecting(options: FaultOptions, takes: Duration) -> Self {
        let line = Arc::new(Line::build("rr", 1, &[1, 2, 3], |_| {}));
        let inner = Connects { clock: line.clock.clone(), takes, sent: Arc::default(), told: Arc::default() };
        let aborted: fn() -> Result<u16, Failed> = || Err(Failed(ErrorKind::Broken));
        let faulty = Faults::new(inner.clone(), line.clock.clone(), options, aborted);
        assert_eq!(faulty.idempotency(&()), Idempotency::Idempotent);
        Self { line, inner, faulty: Arc::new(faulty) }
    }

    fn call(&self, options: CallOptions) -> Pin<Box<dyn Future<Output = Ended>>> {
        let (line, faulty) = (Arc::clone(&self.line), Arc::clone(&self.faulty));
        Box::pin(calls(line, faulty, options))
    }

    /// Runs a call to its end, and returns how it ended. The clock starts from where it stands.
    fn run(&self, options: CallOptions) -> Ended {
        let mut call = self.call(options);
        loop {
            match poll(&mut call) {
                Poll::Ready(ended) => return ended,
                Poll::Pending => self.line.clock.set(self.line.clock.millis() + 1),
            }
        }
    }
}

#[allow(unused_mut, reason = "`run!` lets `start` be `FnMut`")]
async fn calls(line: Arc<Line>, faulty: Arc<Faulty>, options: CallOptions) -> Ended {
    let mut host = CallHost::new(line, ());
    run!(
        host,
        options,
        hedge_core::policy::Idempotency::Idempotent,
        |attempt: AttemptInfo<_>| faulty.start(&(), attempt),
        |call, result| {
            let result = match result {
                Ok(_) => Ok(()),
                Err(CallFailure::Ended { end, .. }) => Err(end),
                Err(CallFailure::Config(error)) => panic!("{error}"),
            };
            (result, u64::try_from(call.report().elapsed().as_millis()).unwrap())
        }
    )
    .unwrap()
}

fn poll(call: &mut Pin<Box<dyn Future<Output = Ended>>>) -> Poll<Ended> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// One attempt, and no deadline that matters.
fn one_attempt() -> CallOptions {
    CallOptions { max_retry: Some(0), ..CallOptions::new().with_timeout(Duration::from_secs(60)) }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn faults_hit_their_share_of_attempts_by_the_seed_alone() {
    let faults = |seed| {
        let options =
            FaultOptions::new(seed).with_delay(Ratio::of_percent::<20>(), SECOND).with_abort(Ratio::of_percent::<5>());
        let world = World::new(options);
        (0..2_000).map(|_| world.run(one_attempt())).collect::<Vec<_>>()
    };
    let drawn = faults(7);
    let count = |wanted: Ended| drawn.iter().filter(|ended| **ended == wanted).count();
    let (ok, slow) = (count((Ok(()), 0)), count((Ok(()), 1_000)));
    let (aborted, both) = (count((Err(End::Failed), 0)), count((Err(End::Failed), 1_000)));
    println!("seed 7: {ok} ok, {slow} delayed, {aborted} aborted, {both} both");
    assert_eq!(ok + slow + aborted + both, 2_000);
    // The expected numbers are 380, 80 and 20; the bounds are five deviations away.
    assert!((290..=470).contains(&slow) && (36..=124).contains(&aborted) && (1..=42).contains(&both));
    assert_eq!(drawn, faults(7));
    assert_ne!(drawn, faults(8));
}

#[test]
fn faults_of_no_kind_change_nothing_and_of_all_attempts_hit_all() {
    let world = World::new(FaultOptions::new(1));
    assert_eq!((0..100).filter(|_| world.run(one_attempt()) == (Ok(()), 0)).count(), 100);
    assert_eq!(world.inner.sent.load(Ordering::Relaxed), 100);
    let world = World::new(FaultOptions::new(1).with_delay(Ratio::WHOLE, SECOND).with_abort(Ratio::WHOLE));
    assert_eq!((0..100).filter(|_| world.run(one_attempt()) == (Err(End::Failed), 1_000)).count(), 100);
    assert_eq!(world.inner.sent.load(Ordering::Relaxed), 0, "an aborted attempt sends nothing");
}

#[test]
fn faults_end_with_the_deadline_and_with_the_call() {
    let world = World::new(FaultOptions::new(1).with_delay(Ratio::WHOLE, SECOND));
    let options = CallOptions { max_retry: Some(0), ..CallOptions::new().with_timeout(Duration::from_millis(20)) };
    assert_eq!(world.run(options), (Err(End::Deadline), 20));
    let mut call = world.call(one_attempt());
    assert!(poll(&mut call).is_pending());
    drop(call);
    assert_eq!(world.inner.sent.load(Ordering::Relaxed), 0);
    assert!([1, 2, 3].iter().all(|server| world.line.node(*server).in_flight() == 0));
}

#[test]
fn h1_a_delay_leaves_the_whole_time_to_connect() {
    let (delay, ms) = (FaultOptions::new(1).with_delay(Ratio::WHOLE, SECOND), Duration::from_millis);
    // The connect timeout is 200 ms, so it has passed when the delay ends.
    let world = World::connecting(delay, ms(150));
    assert_eq!(world.run(one_attempt()), (Ok(()), 1_150));
    let told = world.inner.told.lock().unwrap().unwrap();
    assert_eq!((told.started, told.connect_deadline), (Instant::from_millis(1_000), Some(Instant::from_millis(1_200))));
    assert_eq!(told.remaining(), Some(Duration::from_secs(59)), "L2");
    assert_eq!(World::connecting(delay, ms(250)).run(one_attempt()), (Err(End::Failed), 1_200));
    // The call's deadline is still the last instant to connect at.
    let options = CallOptions { max_retry: Some(0), ..CallOptions::new().with_timeout(ms(1_100)) };
    let world = World::connecting(delay, ms(50));
    assert_eq!(world.run(options), (Ok(()), 1_050));
    let told = world.inner.told.lock().unwrap().unwrap();
    assert_eq!((told.connect_deadline, told.remaining()), (Some(Instant::from_millis(1_100)), Some(ms(100))));
}

/// Allows every backup, so that no limit changes what the test counts.
#[derive(Debug)]
struct Always;

impl BackupPolicy for Always {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        Ok(())
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        Ok(())
    }
}

#[test]
fn faults_show_what_hedging_hides() {
    let slow = |backup: Option<Duration>| {
        let world = World::new(FaultOptions::new(3).with_delay(Ratio::of_percent::<20>(), SECOND));
        let calls = (0..2_000).map(|_| {
            let options = CallOptions { backup_policy: Some(Arc::new(Always)), ..one_attempt() };
            let options = CallOptions { max_retry: Some(1), ..options };
            world.run(backup.map_or(options.clone(), |delay| options.with_backup(delay))).1
        });
        calls.filter(|millis| *millis >= 1_000).count()
    };
    let (without, with) = (slow(None), slow(Some(Duration::from_millis(10))));
    println!("seed 3: {without} of 2000 calls are slow without backups, {with} with backups");
    // A fifth of the calls, and a fifth of these.
    assert!((310..=490).contains(&without) && (36..=124).contains(&with));
}

/// Replies with the key that goes along, if there is one.
struct Keyed;

impl SendTransport for Keyed {
    type Address = u16;
    type Request = ();
    type Reply = Option<IdempotencyKey>;
    type Error = Failed;

    async fn start(&self, (): &(), _: AttemptInfo<u16>) -> Result<Option<IdempotencyKey>, Failed> {
        Ok(None)
    }

    async fn start_along(
        &self,
        (): &(),
        _: AttemptInfo<u16>,
        along: Along<'_, u16>,
    ) -> Result<Option<IdempotencyKey>, Failed> {
        Ok(along.key())
    }

    fn wants_key(&self) -> bool {
        true
    }
}

#[test]
#[allow(unused_mut, reason = "`run!` lets `start` be `FnMut`")]
fn w3_what_goes_along_passes_through() {
    let line = Arc::new(Line::build("rr", 1, &[1], |_| {}));
    let faulty = Faults::new(Keyed, line.clock.clone(), FaultOptions::new(1), || Err(Failed(ErrorKind::Broken)));
    assert!(faulty.wants_key());
    let key = IdempotencyKey::from_bytes([7; 16]);
    let told = CallAlong::new(None, None, Some(key));
    let call = async {
        let (mut host, options) = (CallHost::new(line, ()), CallOptions::new());
        let start = |attempt: AttemptInfo<_>| faulty.start_along(&(), attempt, told.of_attempt(attempt.kind, None));
        run!(host, options, Idempotency::Unset, start, |_call, result| result.ok()).unwrap()
    };
    let replied = std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(replied.map(Option::flatten), Poll::Ready(Some(key)));
}

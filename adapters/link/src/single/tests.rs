//! Tests of shared connections in virtual time.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use hedge_core::drive::Timer as _;
use hedge_core::time::Duration;
use hedge_fleet::Spawn as _;

use super::*;
use crate::auth::Credential;
use crate::registry::Registry;
use crate::testing::Fake;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The counts of attempts to connect, and of connections that were opened and dropped.
#[derive(Default)]
struct World {
    attempts: AtomicUsize,
    opened: AtomicUsize,
    dropped: AtomicUsize,
}

struct FakeConnection {
    number: usize,
    is_closed: AtomicBool,
    limit: AtomicUsize,
    /// The limit that the connection learns right after the next time its limit is read. 0 if its limit is known.
    next_limit: AtomicUsize,
    calls: AtomicUsize,
    world: Arc<World>,
}

impl SharedConnection for FakeConnection {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn limit(&self) -> usize {
        match self.next_limit.swap(0, Ordering::SeqCst) {
            0 => self.limit.load(Ordering::SeqCst),
            learned => self.limit.swap(learned, Ordering::SeqCst),
        }
    }

    fn is_settled(&self) -> bool {
        self.next_limit.load(Ordering::SeqCst) == 0
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.world.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

type FakeSingle = Single<Fake, FakeConnection, &'static str>;
type FakeError = SingleError<&'static str>;
type Got = Result<Lease<FakeConnection>, FakeError>;

#[derive(Clone)]
struct Test {
    fake: Fake,
    registry: Arc<Registry>,
    world: Arc<World>,
    /// How many calls a new connection takes at once. `connect_ms` is how many milliseconds connecting takes.
    limit: usize,
    connect_ms: u64,
}

impl Test {
    fn new(limit: usize) -> Self {
        Self::seeded(1, limit)
    }

    fn seeded(seed: u64, limit: usize) -> Self {
        Self { fake: Fake::new(seed), registry: Arc::default(), world: Arc::default(), limit, connect_ms: 300 }
    }

    fn single(&self, set: impl FnOnce(&PoolSettings)) -> FakeSingle {
        let settings = PoolSettings::new();
        set(&settings);
        let key = ConnectionKey::new();
        let place =
            Place::within::<Store<Fake, FakeConnection, &'static str>>(&self.registry, &"a:1".parse().unwrap(), &key);
        Single::at(&place, self.fake.clone(), Arc::new(settings))
    }

    async fn connect(self, result: Result<(), &'static str>) -> Result<FakeConnection, &'static str> {
        self.world.attempts.fetch_add(1, Ordering::SeqCst);
        self.fake.sleep_until(self.fake.now() + MS(self.connect_ms)).await;
        result?;
        Ok(FakeConnection {
            number: self.world.opened.fetch_add(1, Ordering::SeqCst),
            is_closed: AtomicBool::new(false),
            limit: AtomicUsize::new(self.limit),
            next_limit: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            world: Arc::clone(&self.world),
        })
    }

    /// Starts a call in a task. The call waits `ms` milliseconds at most. Returns the place for the result of the call.
    fn call(&self, single: &Arc<FakeSingle>, ms: u64, result: Result<(), &'static str>) -> Arc<Mutex<Option<Got>>> {
        let got = Arc::new(Mutex::new(None));
        let (single, own, to) = (Arc::clone(single), self.clone(), Arc::clone(&got));
        let by = Some(self.fake.now() + MS(ms));
        self.fake.spawn(async move {
            let lease = single.get(by, || own.clone().connect(result)).await;
            *to.lock().unwrap() = Some(lease);
        });
        got
    }

    fn attempts(&self) -> usize {
        self.world.attempts.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.world.opened.load(Ordering::SeqCst) - self.world.dropped.load(Ordering::SeqCst)
    }
}

/// Returns the number of the connection that the call has got. Returns `None` if the call still waits.
fn number(got: &Mutex<Option<Got>>) -> Option<usize> {
    match got.lock().unwrap().as_ref() {
        Some(Ok(lease)) => Some(lease.number),
        Some(Err(error)) => panic!("{error}"),
        None => None,
    }
}

fn is_timeout(got: &Mutex<Option<Got>>) -> bool {
    matches!(*got.lock().unwrap(), Some(Err(SingleError::Timeout)))
}

#[test]
fn c1_one_call_connects_while_the_others_wait() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    assert_eq!(test.fake.tasks(), 0);
    let calls: Vec<_> = (0..10).map(|_| test.call(&single, 1_000, Ok(()))).collect();
    test.fake.advance(MS(299));
    assert!(calls.iter().all(|call| number(call).is_none()));
    test.fake.advance(MS(1));
    assert!(calls.iter().all(|call| number(call) == Some(0)));
    assert_eq!((test.attempts(), single.connections()), (1, 1));
}

#[test]
fn c1_another_call_goes_on_with_an_attempt_whose_call_has_left() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let calls: Vec<_> = [100, 200, 1_000].map(|ms| test.call(&single, ms, Ok(()))).into();
    test.fake.advance(MS(300));
    assert!(is_timeout(&calls[0]) && is_timeout(&calls[1]));
    assert_eq!((number(&calls[2]), test.attempts()), (Some(0), 1));
    drop(calls);

    // No call waits any more, so the attempt is dropped.
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let calls = [100, 200].map(|ms| test.call(&single, ms, Ok(())));
    test.fake.advance(MS(1_000));
    assert!(calls.iter().all(|call| is_timeout(call)));
    assert_eq!((test.attempts(), test.open(), test.fake.tasks()), (1, 0, 0));
    let call = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    assert_eq!((number(&call), test.attempts()), (Some(0), 2));
}

#[test]
fn c1_all_calls_that_wait_for_an_attempt_fail_with_it() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let calls: Vec<_> = (0..5).map(|_| test.call(&single, 1_000, Err("refused"))).collect();
    test.fake.advance(MS(300));
    for call in &calls {
        let got = call.lock().unwrap();
        assert!(matches!(got.as_ref(), Some(Err(SingleError::Connect(error))) if **error == "refused"));
    }
    assert_eq!((test.attempts(), test.fake.tasks()), (1, 0));
    let call = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    assert_eq!(number(&call), Some(0), "the next call tries again");
}

#[test]
fn c3_a_connection_that_is_closed_or_draining_takes_no_new_call() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let old = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    if let Some(Ok(lease)) = old.lock().unwrap().as_ref() {
        lease.is_closed.store(true, Ordering::SeqCst);
    }
    assert_eq!(single.connections(), 0);
    let new = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    assert_eq!((number(&old), number(&new), test.open()), (Some(0), Some(1), 2));
    *old.lock().unwrap() = None;
    assert_eq!(test.open(), 1, "it is closed with its last call");
    if let Some(Ok(lease)) = new.lock().unwrap().as_ref() {
        lease.retire();
    }
    assert_eq!((single.connections(), test.open()), (0, 1));
}

#[test]
fn c1_there_are_several_connections_while_each_is_at_its_limit() {
    let test = Test::new(2);
    let single = Arc::new(test.single(|settings| settings.set_max_connections(2)));
    let calls: Vec<_> = (0..5).map(|_| test.call(&single, 2_000, Ok(()))).collect();
    test.fake.advance(MS(1_000));
    let has: Vec<_> = calls.iter().filter(|call| number(call).is_some()).collect();
    assert_eq!((has.len(), test.attempts(), single.connections()), (4, 2, 2), "the fifth waits");
    *has[0].lock().unwrap() = None;
    test.fake.run();
    assert_eq!(calls.iter().filter(|call| number(call).is_some()).count(), 4, "it has the place of the first");

    let late = test.call(&single, 100, Ok(()));
    test.fake.advance(MS(100));
    assert!(matches!(*late.lock().unwrap(), Some(Err(SingleError::NoRoom))));
    let waits = test.call(&single, 100, Ok(()));
    test.fake.run();
    for call in &calls {
        if let Some(Ok(lease)) = call.lock().unwrap().as_ref() {
            lease.limit.store(3, Ordering::SeqCst);
        }
    }
    single.changed();
    test.fake.run();
    assert!(number(&waits).is_some(), "the server allows more");
}

#[test]
fn c1_a_limit_that_is_learned_while_a_call_looks_makes_no_second_connection() {
    let test = Test::new(1);
    let single = Arc::new(test.single(|_| {}));
    let first = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    match first.lock().unwrap().as_ref() {
        Some(Ok(lease)) => lease.next_limit.store(100, Ordering::SeqCst),
        other => panic!("{other:?}"),
    }
    // The second call reads the old limit. The limit is known right after that.
    let second = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(0));
    assert_eq!(number(&second), None);
    single.changed();
    test.fake.advance(MS(0));
    assert_eq!((number(&second), test.attempts()), (Some(0), 1));
}

#[test]
fn c4_an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let call = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(25_300));
    assert_eq!((test.open(), test.fake.tasks()), (1, 1));
    *call.lock().unwrap() = None;
    test.fake.advance(MS(9_999));
    assert_eq!(test.open(), 1);
    test.fake.advance(MS(1));
    assert_eq!((test.open(), test.fake.tasks()), (0, 0));
}

#[test]
fn c4_equal_channels_share_one_connection_and_its_close_may_be_deferred() {
    let test = Test::new(100);
    let deferring = |settings: &PoolSettings| settings.set_defer_close(MS(3_000));
    let one = Arc::new(test.single(deferring));
    let other = Arc::new(test.single(deferring));
    let call = test.call(&one, 1_000, Ok(()));
    test.fake.advance(MS(300));
    *call.lock().unwrap() = None;
    drop(one);
    let call = test.call(&other, 1_000, Ok(()));
    test.fake.run();
    assert_eq!((number(&call), test.attempts()), (Some(0), 1));
    *call.lock().unwrap() = None;
    drop(other);
    test.fake.advance(MS(2_999));
    assert_eq!(test.open(), 1);
    test.fake.advance(MS(1));
    assert_eq!((test.open(), test.fake.tasks(), test.registry.len()), (0, 0, 0));

    // If the close is not deferred, the connection is closed with its channel. If a call is still in flight then, the
    // connection is closed after this call.
    let single = Arc::new(test.single(|_| {}));
    let call = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    drop(single);
    assert_eq!((test.open(), test.registry.len()), (1, 0));
    *call.lock().unwrap() = None;
    test.fake.run();
    assert_eq!((test.open(), test.fake.tasks()), (0, 0));
}

#[test]
fn c4_shared_connections_stay_with_their_runtime() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let first = test.call(&single, 1_000, Ok(()));
    test.fake.on(1);
    let second = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    assert!(number(&first) != number(&second));
    *first.lock().unwrap() = None;
    test.fake.end(0);
    assert_eq!((test.open(), single.connections()), (1, 1), "one has ended with its runtime");
}

#[test]
fn c4_a_call_that_moves_to_another_runtime_leaves_no_attempt_behind() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}));
    let mut cx = Context::from_waker(Waker::noop());
    let mut moved = pin!(single.get(None, || test.clone().connect(Ok(()))));
    assert!(moved.as_mut().poll(&mut cx).is_pending());
    test.fake.on(1);
    test.fake.advance(MS(300));
    assert!(matches!(moved.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    test.fake.on(0);
    let next = test.call(&single, 1_000, Ok(()));
    test.fake.advance(MS(300));
    assert_eq!(number(&next), Some(1), "it makes a connection of its own runtime");
}

/// An authenticator that numbers its credentials. At first, it has no credential.
#[derive(Default)]
struct Numbers(AtomicUsize);

impl Authenticator for Numbers {
    fn credential(&self, to: &Address) -> Result<Credential, CredentialError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err("no token yet".into()),
            number => Ok(Credential::new(format!("{to} {number}"))),
        }
    }
}

#[test]
fn c9_the_first_call_carries_the_credential_while_the_others_wait() {
    let test = Test::new(100);
    let single = Arc::new(test.single(|_| {}).with_authenticator(Arc::new(Numbers::default())));
    let calls: Vec<_> = (0..4).map(|_| test.call(&single, 60_000, Ok(()))).collect();
    let first = || {
        calls
            .iter()
            .position(|call| matches!(call.lock().unwrap().as_ref(), Some(Ok(lease)) if lease.credential().is_some()))
    };
    let ended = || calls.iter().filter(|call| call.lock().unwrap().is_some()).count();
    test.fake.advance(MS(300));
    let failed = calls.iter().find(|call| matches!(*call.lock().unwrap(), Some(Err(SingleError::Credential(_)))));
    assert!(failed.is_some(), "there was no token for the first");
    assert_eq!(ended(), 2, "and the next is the first");
    let leaves = first().unwrap();
    *calls[leaves].lock().unwrap() = None;
    test.fake.run();
    let writes = first().unwrap();
    assert_eq!(ended(), 2, "one failed, one left, one has the credential");
    if let Some(Ok(lease)) = calls[writes].lock().unwrap().as_mut() {
        assert_eq!(lease.credential().unwrap().as_str(), "a:1 2");
        lease.credential_written();
    }
    test.fake.run();
    assert_eq!((ended(), first(), test.attempts()), (3, None, 1));
}

/// Makes one of many random calls. The call starts at a random time, waits for a connection, and uses it. It may be
/// dropped at any time, and may close its connection.
async fn storm_call(test: Test, single: Arc<FakeSingle>, ends: Arc<AtomicUsize>) {
    let fake = test.fake.clone();
    let random = |below: u64| fake.random(below);
    fake.sleep_until(fake.now() + MS(random(2_000))).await;
    let by = fake.now() + MS(random(1_500));
    let dropped_at = fake.now() + MS(random(3_000));
    let result = if random(4) == 0 { Err("refused") } else { Ok(()) };
    let (work, closes) = (MS(random(500)), random(10) == 0);
    let connecting = Test { connect_ms: random(600), ..test.clone() };
    let call = async {
        let lease = single.get(Some(by), || connecting.connect(result)).await;
        assert!(fake.now() <= by, "a call ends in time");
        let Ok(lease) = lease else { return };
        let calls = lease.calls.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(calls <= lease.limit(), "a connection has at most as many calls as it takes");
        assert!(single.connections() <= 3, "there are at most as many connections as are allowed");
        let counted = Counted(&lease.calls);
        fake.sleep_until(fake.now() + work).await;
        if closes {
            lease.is_closed.store(true, Ordering::SeqCst);
        }
        drop(counted);
    };
    before(&fake, Some(dropped_at), call).await;
    ends.fetch_add(1, Ordering::SeqCst);
}

struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn c1_a_storm_of_calls_loses_nothing() {
    for seed in 0..200 {
        eprintln!("seed {seed}");
        let test = Test::seeded(seed, 2);
        let single = Arc::new(test.single(|settings| settings.set_max_connections(3)));
        let ends = Arc::<AtomicUsize>::default();
        for _ in 0..30 {
            test.fake.spawn(storm_call(test.clone(), Arc::clone(&single), Arc::clone(&ends)));
        }
        test.fake.advance(MS(6_000));
        assert_eq!(ends.load(Ordering::SeqCst), 30, "every call has ended");
        let call = test.call(&single, 1_000, Ok(()));
        test.fake.advance(MS(300));
        assert!(number(&call).is_some(), "and the next one finds or makes a connection");
        *call.lock().unwrap() = None;
        test.fake.advance(MS(20_000));
        assert_eq!((test.open(), test.fake.tasks()), (0, 0));
        assert!(single.store.is_clean());
    }
}

//! Tests of pools in virtual time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hedge_core::drive::Timer as _;
use hedge_core::time::Duration;
use hedge_fleet::{Observer, Observers};

use super::*;
use crate::registry::Registry;
use crate::testing::Fake;

const S: fn(u64) -> Duration = Duration::from_secs;

/// The state of a connection.
#[derive(Default)]
struct Wire {
    /// Whether the server has closed the connection.
    is_closed: AtomicBool,
    /// Whether the client has dropped the connection.
    is_dropped: AtomicBool,
}

struct FakeConnection {
    wire: Arc<Wire>,
    runtime: RuntimeId,
    lifetime: Lifetime,
}

impl PoolConnection for FakeConnection {
    fn is_closed(&mut self) -> bool {
        self.wire.is_closed.load(Ordering::SeqCst)
    }

    fn runtime(&self) -> RuntimeId {
        self.runtime
    }

    fn lifetime(&mut self) -> &mut Lifetime {
        &mut self.lifetime
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.wire.is_dropped.store(true, Ordering::SeqCst);
    }
}

struct Test {
    fake: Fake,
    registry: Arc<Registry>,
}

type FakePool = Pool<Fake, FakeConnection>;

impl Test {
    fn new() -> Self {
        Self { fake: Fake::new(1), registry: Arc::default() }
    }

    fn pool(&self, key: &ConnectionKey, set: impl FnOnce(&PoolSettings)) -> FakePool {
        self.pool_of(self.fake.clone(), key, set)
    }

    fn pool_of(&self, fake: Fake, key: &ConnectionKey, set: impl FnOnce(&PoolSettings)) -> FakePool {
        let address = "a:1".parse().unwrap();
        let settings = PoolSettings::new();
        set(&settings);
        let place = Place::within::<Store<Fake, FakeConnection>>(&self.registry, &address, key);
        Pool::at(&place, fake, Arc::new(settings))
    }

    fn one(&self, set: impl FnOnce(&PoolSettings)) -> FakePool {
        self.pool(&ConnectionKey::new(), set)
    }

    /// Makes a new connection.
    fn open(&self, pool: &FakePool) -> (FakeConnection, Arc<Wire>) {
        let wire = Arc::<Wire>::default();
        let (runtime, lifetime) = (self.fake.id(), Lifetime::new());
        let mut connection = FakeConnection { wire: Arc::clone(&wire), runtime, lifetime };
        pool.opened(&mut connection);
        (connection, wire)
    }

    /// Makes a new connection, and gives it back to the pool.
    fn idle(&self, pool: &FakePool) -> Arc<Wire> {
        let (connection, wire) = self.open(pool);
        pool.give_back(connection);
        self.fake.run();
        wire
    }

    fn take(&self, pool: &FakePool) -> Option<Arc<Wire>> {
        self.take_whole(pool).map(|connection| Arc::clone(&connection.wire))
    }

    fn take_whole(&self, pool: &FakePool) -> Option<FakeConnection> {
        pool.take(pool.runtime.now()).map(|idle| idle.connection)
    }
}

fn is_open(wire: &Wire) -> bool {
    !wire.is_dropped.load(Ordering::SeqCst)
}

#[test]
fn c1_the_connection_used_last_is_used_next_and_at_most_so_many_are_kept() {
    let test = Test::new();
    let pool = test.one(|settings| settings.set_max_idle(2));
    let (first, second, third) = (test.idle(&pool), test.idle(&pool), test.idle(&pool));
    assert!(!is_open(&third), "two are kept");
    first.is_closed.store(true, Ordering::SeqCst);
    let fourth = test.idle(&pool);
    assert!(!is_open(&first), "one that is closed makes room");
    assert!(Arc::ptr_eq(&test.take(&pool).unwrap(), &fourth));
    second.is_closed.store(true, Ordering::SeqCst);
    assert!(test.take(&pool).is_none(), "one that is closed is not used");
    assert!(pool.is_empty());
}

#[test]
fn c4_there_is_a_task_only_while_something_is_idle() {
    let test = Test::new();
    let pool = test.one(|_| {});
    assert_eq!(test.fake.tasks(), 0);
    let wire = test.idle(&pool);
    assert_eq!(test.fake.tasks(), 1);
    test.fake.advance(S(10) - Duration::from_micros(1));
    assert!(is_open(&wire));
    test.fake.advance(Duration::from_micros(1));
    assert!(!is_open(&wire));
    assert_eq!((test.fake.tasks(), pool.settings().expired()), (0, 1));
    let wire = test.idle(&pool);
    drop(pool);
    test.fake.run();
    assert!(!is_open(&wire));
    assert_eq!((test.fake.tasks(), test.registry.len()), (0, 0));
}

/// An observer that records the connections that have expired.
#[derive(Default)]
struct Told(Mutex<Vec<(String, Duration)>>);

impl Observer for Told {
    fn connection_expired(&self, address: &Address, idle: Duration) {
        self.0.lock().unwrap().push((address.to_string(), idle));
    }
}

#[test]
fn c4_an_observer_is_told_what_expires() {
    let (test, told) = (Test::new(), Arc::new(Told::default()));
    let idle_timeout = S(10);
    let mut observers = Observers::none();
    observers.add(Arc::clone(&told) as Arc<dyn Observer>);
    let pool = test.one(|settings| {
        settings.set_idle_timeout(idle_timeout);
        settings.observed_by(observers);
    });
    // The reaper closes the connection.
    let wire = test.idle(&pool);
    test.fake.advance(idle_timeout);
    assert!(!is_open(&wire));
    // The reaper has not run, so a call that comes too late closes the connection.
    test.idle(&pool);
    let late = pool.runtime.now() + idle_timeout + S(1);
    assert!(pool.take(late).is_none());
    // The connection may not be kept after its call.
    let (mut old, _) = test.open(&pool);
    old.lifetime().keep_for(Duration::ZERO);
    pool.give_back(old);
    let idle = [idle_timeout, idle_timeout + S(1), Duration::ZERO];
    assert_eq!(*told.0.lock().unwrap(), idle.map(|idle| ("a:1".to_owned(), idle)));
    // There is no event if the server or the channel has closed the connection.
    test.idle(&pool).is_closed.store(true, Ordering::SeqCst);
    assert!(test.take(&pool).is_none());
    test.idle(&pool);
    pool.close_idle_since(pool.runtime.now());
    drop(pool);
    assert_eq!(told.0.lock().unwrap().len(), idle.len());
}

#[test]
fn c4_a_connection_has_an_age() {
    let test = Test::new();
    let pool = test.one(|settings| settings.set_max_age(S(15)));
    let wire = test.idle(&pool);
    for _ in 0..2 {
        test.fake.advance(S(7));
        let taken = test.take_whole(&pool).unwrap();
        pool.give_back(taken);
        test.fake.run();
    }
    // The connection has been idle for 1 s, and is 15 s old.
    test.fake.advance(S(1));
    assert!(!is_open(&wire));
    // The connection becomes too old while it is in use.
    let (connection, wire) = test.open(&pool);
    test.fake.advance(S(15));
    assert!(is_open(&wire));
    pool.give_back(connection);
    assert!(!is_open(&wire));
    assert_eq!(pool.settings().expired(), 2);
}

#[test]
fn c4_a_server_says_for_how_long_it_keeps_a_connection() {
    let test = Test::new();
    let pool = test.one(|_| {});
    let lasting = test.idle(&pool);
    let (mut connection, brief) = test.open(&pool);
    connection.lifetime().keep_for(S(2));
    pool.give_back(connection);
    // The reaper waits 10 s for the first connection. For the second connection, it looks earlier.
    test.fake.advance(S(2));
    assert!(!is_open(&brief) && is_open(&lasting));
    let (mut connection, none) = test.open(&pool);
    connection.lifetime().keep_for(S(0));
    pool.give_back(connection);
    assert!(!is_open(&none), "it is not kept");
    assert!(is_open(&lasting));
}

#[test]
fn c4_equal_channels_share_and_groups_do_not() {
    let test = Test::new();
    let (one, equal) = (test.one(|_| {}), test.one(|_| {}));
    let apart = test.pool(&ConnectionKey::new().with("group", "apart"), |_| {});
    let wire = test.idle(&one);
    assert!(test.take(&apart).is_none());
    let taken = test.take_whole(&equal).unwrap();
    assert!(Arc::ptr_eq(&taken.wire, &wire));
    equal.give_back(taken);
    drop(equal);
    assert!(is_open(&wire), "one channel is left");
    drop(one);
    assert!(!is_open(&wire));
    assert_eq!(test.registry.len(), 1);
}

#[test]
fn c4_the_settings_of_the_channel_that_used_it_last_count() {
    let test = Test::new();
    let patient = test.one(|settings| settings.set_idle_timeout(S(60)));
    let hasty = test.one(|settings| settings.set_idle_timeout(S(1)));
    let (first, second) = (test.idle(&patient), test.idle(&hasty));
    test.fake.advance(S(1));
    assert!(is_open(&first) && !is_open(&second));
    let taken = test.take_whole(&hasty).unwrap();
    hasty.give_back(taken);
    test.fake.advance(S(1));
    assert!(!is_open(&first));
    assert_eq!((patient.settings().expired(), hasty.settings().expired()), (0, 2));
}

#[test]
fn c4_channels_with_different_clocks_share() {
    let test = Test::new();
    let one = test.one(|_| {});
    for ahead in [S(0), S(1_000)] {
        let other = test.pool_of(test.fake.ahead(ahead), &ConnectionKey::new(), |_| {});
        let (first, second) = (test.idle(&one), test.idle(&one));
        test.fake.advance(S(4));
        let third = test.idle(&other);
        let idle = other.take(other.runtime.now()).unwrap();
        assert!(Arc::ptr_eq(&idle.connection.wire, &third));
        assert_eq!(idle.since, other.runtime.now());
        drop(idle);
        let idle = other.take(other.runtime.now()).unwrap();
        assert_eq!(other.runtime.now().since(idle.since), S(4));
        other.close_idle_since(idle.since);
        assert!(!is_open(&first), "it was idle for as long");
        drop(idle);
        assert!(!is_open(&second));
        let old = test.idle(&other);
        test.fake.advance(S(10));
        assert!(!is_open(&old));
    }
}

#[test]
fn c4_settings_change_while_connections_are_idle() {
    let test = Test::new();
    let (pool, other) = (test.one(|_| {}), test.one(|_| {}));
    let kept = test.idle(&other);
    let wires: Vec<_> = (0..4).map(|_| test.idle(&pool)).collect();
    test.fake.advance(S(3));
    pool.settings().set_max_idle(3);
    pool.settings_changed();
    let open = || wires.iter().map(|wire| is_open(wire)).collect::<Vec<_>>();
    assert_eq!(open(), [false, false, true, true], "the oldest are closed");
    pool.settings().set_idle_timeout(S(5));
    pool.settings_changed();
    test.fake.advance(S(2));
    assert_eq!(open(), [false; 4]);
    assert!(is_open(&kept), "the other channel has its own settings");
    other.settings().set_idle_timeout(S(60));
    other.settings_changed();
    test.fake.advance(S(50));
    assert!(is_open(&kept));
}

#[test]
fn c4_a_deferred_close_keeps_what_is_idle_after_its_last_channel() {
    let test = Test::new();
    let deferring = |settings: &PoolSettings| settings.set_defer_close(S(3));
    let pool = test.one(deferring);
    let wire = test.idle(&pool);
    drop(pool);
    test.fake.advance(S(2));
    assert!(is_open(&wire));
    // A new channel comes in time, and stays.
    let pool = test.one(deferring);
    test.fake.advance(S(5));
    assert!(is_open(&wire));
    assert!(Arc::ptr_eq(&test.take(&pool).unwrap(), &wire));
    // No new channel comes.
    let wire = test.idle(&pool);
    drop(pool);
    test.fake.advance(S(3));
    assert!(!is_open(&wire));
    assert_eq!((test.fake.tasks(), test.registry.len()), (0, 0));
    // No connection is idle, so the store is removed at once.
    drop(test.one(deferring));
    assert_eq!(test.registry.len(), 0);
    // The idle time ends before the deferred close. After that, the runtime ends before the deferred close.
    let pool = test.one(|settings| settings.set_defer_close(S(30)));
    let wire = test.idle(&pool);
    drop(pool);
    test.fake.advance(S(10));
    assert!(!is_open(&wire));
    assert_eq!(test.registry.len(), 0);
    let pool = test.one(deferring);
    let wire = test.idle(&pool);
    drop(pool);
    test.fake.end(0);
    assert!(!is_open(&wire));
    assert_eq!(test.registry.len(), 0);
}

#[test]
fn c4_a_connection_stays_with_its_runtime() {
    let test = Test::new();
    let pool = test.one(|_| {});
    let first = test.idle(&pool);
    test.fake.on(1);
    assert!(test.take(&pool).is_none());
    let second = test.idle(&pool);
    assert_eq!(test.fake.tasks(), 2);
    test.fake.end(0);
    assert!(!is_open(&first) && is_open(&second), "it ends with its runtime");
    let of_first = {
        test.fake.on(0);
        test.open(&pool)
    };
    test.fake.on(1);
    pool.give_back(of_first.0);
    assert!(!is_open(&of_first.1), "nothing on its own runtime could close it later");
    assert!(Arc::ptr_eq(&test.take(&pool).unwrap(), &second));
}

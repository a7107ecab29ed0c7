//! Lists of 10,000 servers: what a change of one server costs, and the memory that a server takes. Run it with
//! `cargo test --release -p hedge-fleet --test large_lists -- --nocapture` to see the times.
//!
//! To count the instructions of 31 changes with one balancer, run the same program, here `large_lists`, under callgrind:
//! `BALANCER=p2c valgrind --tool=callgrind --toggle-collect='*change_one*' large_lists s9_s10_a_change`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]
// The counting allocator is the only unsafe code here.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedge_core::config::ServerLimits;
use hedge_core::health::{AnyBreaker, Health, IsolationLimit, Recovering};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::time::Instant;
use hedge_fleet::{Address, Balancer, MAX_SERVERS, Server, Servers, Service};

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method passes its arguments on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Bare(AddressKey);

impl From<AddressKey> for Bare {
    fn from(key: AddressKey) -> Self {
        Self(key)
    }
}

impl Service for Bare {
    fn address_key(&self, _: ServerId) -> AddressKey {
        self.0
    }
}

const SERVERS: usize = 10_000;

/// Tests run one after the other, since all of them use [`ALLOCATED`].
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The balancers, each with the bytes that a server may take in a list of [`SERVERS`].
const BALANCERS: [(&str, usize); 10] = [
    ("rr", 1_024),
    ("random", 1_024),
    ("wrr:default_weight=1", 1_024),
    ("wr:default_weight=1", 1_024),
    ("p2c", 1_024),
    ("prequal", 1_024),
    ("la", 1_024 + 1_126),
    ("c_murmurhash", 1_024 + 1_024),
    ("subset:size=20 of=p2c", 1_024),
    ("locality:zone=a of=p2c", 1_024),
];

fn empty(balancer: &str) -> Servers<Server, Bare> {
    let health = Health::new(Recovering::new(AnyBreaker::None, None), IsolationLimit::DEFAULT);
    let balancer = Balancer::named(balancer, 1).unwrap();
    Servers::new(balancer, health, usize::from(MAX_SERVERS)).with_limits(&ServerLimits::NONE)
}

/// Returns the list without the server of one number.
fn without(left_out: usize) -> Vec<Server> {
    let server = |number: usize| {
        let [.., b, c] = u32::try_from(number).unwrap().to_be_bytes();
        let zone = ["zone=a", "zone=b", "zone=c"][number % 3];
        Server::new(Address::Socket(([10, 0, b, c], 80).into()), zone)
    };
    (0..=SERVERS).filter(|number| *number != left_out).map(server).collect()
}

fn set(servers: &Servers<Server, Bare>, list: Vec<Server>) -> (usize, usize) {
    let (update, _) = servers.set(list, None, Instant::ZERO).unwrap();
    (update.inserted, update.removed)
}

/// [`set`] under a name of its own, by which callgrind finds it.
#[inline(never)]
fn change_one(servers: &Servers<Server, Bare>, list: Vec<Server>) -> (usize, usize) {
    set(servers, list)
}

/// Returns the balancers of a test: all, or the one that the environment names, so that callgrind counts only this one.
fn chosen() -> impl Iterator<Item = (&'static str, usize)> {
    let name = std::env::var("BALANCER").ok();
    BALANCERS.into_iter().filter(move |(balancer, _)| name.as_ref().is_none_or(|name| balancer.starts_with(name)))
}

/// Returns where the servers of the list are in memory.
fn places(servers: &Servers<Server, Bare>) -> HashSet<usize> {
    servers.load().list().nodes().iter().map(|node| Arc::as_ptr(node).addr()).collect()
}

#[test]
fn s9_s10_a_change_of_one_among_10_000_is_applied_as_a_difference() {
    let _alone = alone();
    println!("a change of one of {SERVERS} servers, the least and the median of 31:");
    for (balancer, _) in chosen() {
        let servers = empty(balancer);
        assert_eq!(set(&servers, without(0)), (SERVERS, 0));
        let mut times: Vec<_> = (1..=31)
            .map(|number| {
                let (list, before) = (without(number * 300), servers.load());
                let old: HashSet<usize> = places(&servers);
                let start = std::time::Instant::now();
                assert_eq!(change_one(&servers, list), (1, 1));
                let taken = start.elapsed();
                // All other servers are the same ones as before. The old list still holds its servers, so no new server
                // can be at the place of an old one.
                assert_eq!(places(&servers).intersection(&old).count(), SERVERS - 1, "{balancer}");
                drop(before);
                taken
            })
            .collect();
        times.sort_unstable();
        let [least, median] = [times[0], times[times.len() / 2]].map(|time| time.as_secs_f64() * 1e6);
        println!("{balancer:24} {least:8.0} {median:8.0} us");
    }
}

#[test]
fn s9_s10_a_server_takes_at_most_1_kib_beside_what_its_balancer_keeps() {
    let _alone = alone();
    println!("bytes for each of {SERVERS} servers, with its address and tag:");
    for (balancer, limit) in BALANCERS {
        let before = ALLOCATED.load(Relaxed);
        let servers = empty(balancer);
        set(&servers, without(0));
        set(&servers, without(1));
        let taken = (ALLOCATED.load(Relaxed) - before) / SERVERS;
        println!("{balancer:24} {taken:8}");
        assert!(taken <= limit, "{balancer}: {taken} bytes, expected at most {limit}");
        drop(servers);
    }
}

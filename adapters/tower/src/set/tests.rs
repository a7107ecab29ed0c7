//! Tests of the list of a set.

use std::future::{Pending, pending};

use hedge_core::balance::{ArrangeError, Balancer as _, Selection};
use hedge_core::bounded::Bounded;
use hedge_core::call::Host;
use hedge_core::health::{AnyBreaker, BreakerOptions, FailureOptions, Health, IsolationLimit, Recovering};
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Duration, Micros, Timeout};
use hedge_fleet::Balancer;

use super::*;

const NOW: Instant = Instant::ZERO;

fn servers<K>(balancer: &str) -> Servers<K, OwnAddress<()>> {
    let health = Health::new(Recovering::new(AnyBreaker::None, None), IsolationLimit::DEFAULT);
    Servers::new(Balancer::named(balancer, 1).unwrap(), health, MAX_SERVERS)
}

fn insert<K>(key: K) -> Change<K, ()> {
    Change::Insert(key, ())
}

fn ids<K: Copy>(servers: &Servers<K, OwnAddress<()>>) -> Vec<(K, ServerId)> {
    servers.load().list().nodes().iter().map(|node| (*node.key(), node.id())).collect()
}

#[test]
fn s7_a_list_is_in_the_order_of_its_keys_whatever_the_order_of_the_changes() {
    let servers = servers("rr");
    assert_eq!(apply(&servers, [3, 1, 2].map(insert), NOW), Ok(3));
    assert_eq!(ids(&servers).iter().map(|(key, _)| *key).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(apply(&servers, [Change::Remove(7)], NOW), Ok(0));
}

#[test]
fn l20_a_server_that_is_replaced_or_comes_back_is_another() {
    let servers = servers("rr");
    apply(&servers, [1, 2].map(insert), NOW).unwrap();
    let before = ids(&servers);
    apply(&servers, [insert(1)], NOW).unwrap();
    let replaced = ids(&servers);
    assert_eq!(replaced[0].1.slot(), before[0].1.slot(), "the same address");
    assert_ne!(replaced[0].1, before[0].1);
    assert_eq!(replaced[1], before[1]);
    apply(&servers, [Change::Remove(1), insert(1)], NOW).unwrap();
    let back = ids(&servers);
    assert!(back[0].1 != before[0].1 && back[0].1 != replaced[0].1);
    assert!(servers.load().list().get(before[0].1).is_none());
}

#[test]
fn more_servers_than_ids_are_left_out() {
    let servers = servers("rr");
    assert_eq!(apply(&servers, (0..70_000).map(insert), NOW), Ok(65_536));
    assert_eq!(servers.load().list().nodes().len(), 65_536);
}

#[test]
fn s2_a_server_weighs_what_it_came_with_else_the_default_else_1() {
    let three = NonZeroU32::new(3).unwrap();
    for (balancer, weights) in [("wrr", [1, 3]), ("wr:default_weight=7", [7, 3]), ("p2c", [1, 3]), ("rr", [1, 1])] {
        let servers = servers(balancer);
        apply(&servers, [insert(1), Change::InsertWeighted(2, (), three)], NOW).unwrap();
        let snapshot = servers.load();
        assert_eq!(
            snapshot.list().nodes().iter().map(|node| node.weight().get()).collect::<Vec<_>>(),
            weights,
            "{balancer}"
        );
    }
}

#[test]
fn a_server_takes_as_many_bytes_as_the_docs_say() {
    // The node with the two counts of its `Arc`, and its two pointers in the list.
    let bytes =
        size_of::<Node<(), OwnAddress<()>>>() + 2 * size_of::<usize>() + 2 * size_of::<Arc<Node<(), OwnAddress<()>>>>();
    assert!(bytes <= 120, "{bytes}");
}

/// A key whose `Display` fails for 13.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key(u16);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 13 { Err(fmt::Error) } else { self.0.fmt(f) }
    }
}

#[test]
fn s5_a_list_that_the_ring_cannot_take_changes_nothing() {
    let servers = servers("c_murmurhash");
    assert_eq!(apply(&servers, [1, 2].map(|key| insert(Key(key))), NOW), Ok(2));
    let before = ids(&servers);
    let refused = apply(&servers, [Change::Remove(Key(1)), insert(Key(3)), insert(Key(13))], NOW);
    assert!(matches!(refused, Err(ArrangeError::Ring(_))), "{refused:?}");
    assert_eq!(ids(&servers), before);
    assert_eq!(apply(&servers, [Change::Remove(Key(1)), insert(Key(3))], NOW), Ok(2));
    assert_eq!(ids(&servers)[0], before[1]);
}

struct Still;

impl Timer for Still {
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }
}

#[test]
fn h2_a_probe_whose_turn_another_call_took_is_not_sent_and_leaves_its_place() {
    let breaker = FailureOptions { failures: Bounded::of::<1>(), ..FailureOptions::DEFAULT };
    let builder = crate::builder(Still).seed(1).circuit_breaker(BreakerOptions::ConsecutiveFailures(breaker));
    let set: HedgeSet<u16, (), Still> = builder.set().unwrap();
    for key in [0, 1] {
        set.insert(key, ()).unwrap();
    }
    let host = || CallHost::new(&*set.inner, ());
    let (one, other) = (host(), host());
    let look = |host: &CallHost<_>, now| {
        let selection =
            Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now };
        host.look(&selection, &mut || 0).unwrap()
    };

    let now = Instant::from_millis(1_000);
    let failing = look(&one, now);
    assert!(one.commit(&failing, now, false));
    let (max_retry, timeout) = (0, Timeout::NEVER);
    let sent = SentAttempt { server: failing.server, at: now, attempt: AttemptId::FIRST, max_retry, timeout };
    one.finished(&sent.finished(now, Feedback::Failure { latency: Micros::from_millis(1) }, Code::NONE));
    let healthy = look(&one, now);
    assert_ne!(healthy.server, failing.server);
    assert!(one.commit(&healthy, now, false));

    // The isolation is over, and each of two calls wants to be the probe.
    let later = now + Duration::from_millis(200);
    let (probe, late) = (look(&one, later), look(&other, later));
    assert_eq!((probe.server, late.server), (failing.server, failing.server));
    set.inner.servers.load().balancer().commit(late.ticket.unwrap(), false);
    assert!(!one.commit(&probe, later, false), "the other call has taken the turn");
    let servers = &set.inner.servers;
    assert!(servers.load().list().healths().all(|health| servers.load().health().usable(health, later)));
    assert!(!one.commit(&probe, later, false) && one.commit(&probe, later, true), "a call that insists is the probe");
    assert!(!other.commit(&late, later, false), "there is one probe at a time");
}

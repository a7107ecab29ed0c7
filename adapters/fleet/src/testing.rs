//! A channel for tests. Its servers are numbers, and the test sets its clock by hand. The unit tests and the tests in
//! `tests/observer` and `tests/spans.rs` share this file, so it uses only the public names of the crate.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hedge_core::drive::Timer;
use hedge_core::outcome::ErrorKind;
use hedge_core::policy::{AttemptError, DefaultRetryPolicy};
use hedge_core::time::Instant;
use hedge_fleet::{Balancer, ChannelContext, ListEntry, Node, OwnAddress, Servers, Settings, Setup, Snapshot};

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }

    pub(crate) fn millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(self.millis())
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { clock: self.clone(), at }
    }
}

/// A sleep that becomes ready once the clock has reached its time. It wakes no task, so the test must poll again.
pub(crate) struct Sleep {
    clock: Clock,
    at: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() < self.at { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// The error of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failed(pub(crate) ErrorKind);

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// A channel whose servers are numbers.
pub(crate) struct Line {
    pub(crate) servers: Servers<u16, OwnAddress<()>>,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
}

impl Line {
    /// Makes a channel with these servers. `set` changes the default settings.
    pub(crate) fn build(balancer: &str, seed: u64, keys: &[u16], set: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::new();
        set(&mut setup);
        let balancer = Balancer::named(balancer, seed).unwrap();
        let servers = Servers::new(balancer, setup.health(), 1 << 16)
            .with_limits(&setup.server_limits)
            .observed_by(setup.observers.clone());
        let line = Self { servers, settings: setup.into_settings(seed).unwrap(), clock: Clock::default() };
        line.set(keys);
        line
    }

    /// Replaces the list of servers.
    pub(crate) fn set(&self, keys: &[u16]) {
        let new = |key: &u16| ListEntry::new(*key, OwnAddress(()), NonZeroU32::MIN);
        let write = |key: &u16, out: &mut dyn std::fmt::Write| write!(out, "10.0.0.{key}:80");
        let plan = |old: &Snapshot<u16, OwnAddress<()>>| {
            let place = |key| old.list().named(key).cloned().map_or_else(|| new(key), ListEntry::Stays);
            Some(keys.iter().map(place).collect())
        };
        self.servers.change(write, self.clock.now(), plan).unwrap();
    }

    pub(crate) fn node(&self, key: u16) -> Arc<Node<u16, OwnAddress<()>>> {
        Arc::clone(self.servers.load().list().named(&key).unwrap())
    }
}

impl ChannelContext for Line {
    type Key = u16;
    type Service = OwnAddress<()>;
    type Address = u16;
    type Call = ();
    type Timer = Clock;
    type RetryPolicy = DefaultRetryPolicy;

    fn servers(&self) -> &Servers<u16, OwnAddress<()>> {
        &self.servers
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn timer(&self) -> &Clock {
        &self.clock
    }

    fn retry_policy(&self) -> &DefaultRetryPolicy {
        &DefaultRetryPolicy
    }

    fn address(&self, node: &Node<u16, OwnAddress<()>>) -> u16 {
        *node.key()
    }
}

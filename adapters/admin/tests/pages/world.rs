//! A channel whose servers answer by a script, on a clock that the test moves.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hedge_admin::{Registration, Registry, Watch};
use hedge_core::drive::Timer;
use hedge_core::outcome::ErrorKind;
use hedge_core::policy::{AttemptError, BackupDelay, DefaultRetryPolicy};
use hedge_core::time::Instant;
use hedge_fleet::{
    Address, Balancer, CallHost, CallOptions, ChannelContext, ChannelInfo, Inspect, ListEntry, Node, OwnAddress,
    Server, Servers, Settings, Setup,
};

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Timer for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep(self.clone(), at)
    }
}

/// A sleep that becomes ready once the clock has reached its time. It wakes no task, so the test polls again.
pub(crate) struct Sleep(Clock, Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.now() < self.1 { Poll::Pending } else { Poll::Ready(()) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed(ErrorKind);

impl AttemptError for Failed {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// The answer of an attempt: after how many milliseconds it comes, and its result.
pub(crate) type Answer = (u64, Result<(), ErrorKind>);

/// A channel. A clone is the same channel.
#[derive(Clone)]
pub(crate) struct Channel(Arc<Inner>);

struct Inner {
    servers: Servers<Server, OwnAddress<()>>,
    settings: Settings,
    clock: Clock,
}

impl Channel {
    /// A channel with these servers, and a backup after 10 ms. The order of the servers depends on nothing but them.
    pub(crate) fn new(servers: &[Server], set: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::new();
        setup.options.backup = BackupDelay::after(Duration::from_millis(10));
        set(&mut setup);
        let balancer = Balancer::named("rr", 2).unwrap();
        let list: Servers<Server, OwnAddress<()>> = Servers::new(balancer, setup.health(), 1 << 16);
        let clock = Clock::default();
        clock.advance(1_000);
        let weight = NonZeroU32::MIN;
        let plan = servers.iter().map(|key| ListEntry::new(key.clone(), OwnAddress(()), weight));
        let plan: Vec<_> = plan.collect();
        list.change(|key, out| write!(out, "{}", key.address), clock.now(), |_| Some(plan)).unwrap();
        Self(Arc::new(Inner { servers: list, settings: setup.into_settings(2).unwrap(), clock }))
    }

    /// A channel of two servers that `registry` shows and watches. `watch` gives it the watch.
    pub(crate) fn watched(registry: &Registry, name: &str, watch: fn(&mut Setup, Watch)) -> (Self, Registration) {
        let watched = registry.watch(name).unwrap();
        let channel = Self::new(&servers(["10.0.0.1:80", "10.0.0.2:80"]), |setup| watch(setup, watched.clone()));
        (channel.clone(), registry.add_watched(watched, channel).unwrap())
    }

    /// Makes a call whose attempts answer as the script says. An attempt beyond the script never answers.
    pub(crate) fn call(&self, script: &[Answer]) {
        let mut call = pin!(self.start(script));
        while call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.clock.advance(1);
        }
    }

    async fn start(&self, script: &[Answer]) {
        let mut host = CallHost::new(&*self.0, ());
        let options = CallOptions::new();
        let ended = hedge_fleet::run!(
            host,
            &options,
            hedge_fleet::hedge_core::policy::Idempotency::Idempotent,
            |attempt: AttemptInfo<Address>| self.answer(script.get(attempt.attempt.index()).copied()),
            |_call, _result| ()
        );
        ended.unwrap();
    }

    fn answer(&self, answer: Option<Answer>) -> impl Future<Output = Result<(), Failed>> {
        let (clock, begun) = (self.0.clock.clone(), self.0.clock.now());
        poll_fn(move |_| match answer {
            Some((after, result)) if clock.now() >= begun + Duration::from_millis(after) => {
                Poll::Ready(result.map_err(Failed))
            }
            _ => Poll::Pending,
        })
    }
}

/// Watches by an observer.
pub(crate) fn observed(setup: &mut Setup, watch: Watch) {
    setup.observers.add(Arc::new(watch));
}

pub(crate) fn servers<const N: usize>(lines: [&str; N]) -> [Server; N] {
    lines.map(|line| line.parse().unwrap())
}

impl Inspect for Channel {
    fn inspect(&self) -> ChannelInfo {
        let Inner { servers, settings, clock } = &*self.0;
        let name = |server: &Server| (server.address.to_string(), server.tag.to_string());
        ChannelInfo::new("not shown", servers.inspect(clock.now(), name), settings, clock.now())
    }
}

impl ChannelContext for Inner {
    type Key = Server;
    type Service = OwnAddress<()>;
    type Address = Address;
    type Call = ();
    type Timer = Clock;
    type RetryPolicy = DefaultRetryPolicy;

    fn servers(&self) -> &Servers<Server, OwnAddress<()>> {
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

    fn address(&self, node: &Node<Server, OwnAddress<()>>) -> Address {
        node.key().address.clone()
    }
}

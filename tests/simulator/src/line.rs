//! The channel of a simulated world, whose list of servers changes while calls run.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_core::balance::{AnyBalancer, AnyTicket, Heap, NoServer, Pick, ProbeAnswer, Selection};
use hedge_core::call::Host;
use hedge_core::channel::Channel;
use hedge_core::health::{AnyBreaker, Health, IsolationLimit};
use hedge_core::id::ServerId;
use hedge_core::outcome::{Denial, Finished};
use hedge_core::policy::{BackupDelay, BackupPolicy, ChannelOptions, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

/// How many servers a simulated channel holds.
const SERVERS: usize = 128;

type Balancer = AnyBalancer<Heap>;
type Inner = Channel<u16, Balancer, SimPolicy, u16, SERVERS, AnyBreaker>;

/// A core channel that can be changed between the events of its calls.
#[derive(Debug)]
pub struct Line {
    channel: RefCell<Inner>,
    options: ChannelOptions,
    seeds: Seeds,
}

/// A change of the server list.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// The server with this address and tag comes, or comes back.
    Insert(u16, u16),
    /// It goes.
    Remove(u16, u16),
    /// It is isolated, or not any more.
    Usable(u16, u16, bool),
}

impl Line {
    /// A channel without servers.
    #[must_use]
    pub fn new(options: ChannelOptions, balancer: Balancer, policy: SimPolicy, seed: u64) -> Self {
        Self::under(AnyBreaker::None, options, balancer, policy, seed)
    }

    /// A channel without servers, which will be under a breaker.
    #[must_use]
    pub fn under(
        breaker: AnyBreaker,
        options: ChannelOptions,
        balancer: Balancer,
        policy: SimPolicy,
        seed: u64,
    ) -> Self {
        let health = Health::new(breaker, IsolationLimit::DEFAULT);
        let channel = Channel::with_health(options.clone(), balancer, policy, health, seed);
        Self { channel: RefCell::new(channel), options, seeds: Seeds::new(seed) }
    }

    /// Changes the list; what does not apply changes nothing.
    pub fn apply(&self, change: Change, now: Instant) {
        let mut channel = self.channel.borrow_mut();
        match change {
            Change::Insert(address, tag) => {
                // There already, or no room: the world goes on as it is.
                let _ = channel.insert(address, tag);
            }
            Change::Remove(address, tag) => {
                let _ = channel.cluster().find(address, tag).map(|server| channel.remove(server, now));
            }
            Change::Usable(address, tag, usable) => {
                let _ = channel.cluster().find(address, tag).map(|server| channel.set_usable(server, usable, now));
            }
        }
    }

    /// Where a server is; `None` if it is gone.
    #[must_use]
    pub fn address(&self, server: ServerId) -> Option<u16> {
        self.channel.borrow().cluster().address(server).copied()
    }

    /// The addresses that take calls now.
    #[must_use]
    pub fn usable(&self, now: Instant) -> Vec<(ServerId, u16)> {
        let channel = self.channel.borrow();
        let usable = channel.cluster().iter().filter(|(id, _)| channel.usable(*id, now));
        usable.map(|(id, server)| (id, server.address)).collect()
    }

    /// Hands `probe` the servers that are to be probed because a call starts.
    pub fn probes(&self, now: Instant, probe: &mut dyn FnMut(ServerId)) {
        self.channel.borrow().probes(now, probe);
    }

    /// A server has answered a probe.
    pub fn probed(&self, server: ServerId, answer: ProbeAnswer, now: Instant) {
        self.channel.borrow().probed(server, answer, now);
    }

    /// All attempts that the servers believe to be in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let channel = self.channel.borrow();
        channel.cluster().iter().map(|(id, _)| channel.cluster().in_flight(id)).sum()
    }

    /// How many endings the channel's policy was told of.
    #[must_use]
    pub fn told(&self) -> u32 {
        self.channel.borrow().policy().told()
    }
}

impl Host for Line {
    type Ticket = AnyTicket;

    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.channel.borrow().addresses()
    }

    fn needs_request_code(&self) -> bool {
        self.channel.borrow().needs_request_code()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<AnyTicket>, NoServer> {
        self.channel.borrow().look(selection, random)
    }

    fn commit(&self, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
        self.channel.borrow().commit(pick, now, insist)
    }

    fn finished(&self, attempt: &Finished) {
        self.channel.borrow().finished(attempt);
    }

    fn answered(&self, attempt: &Finished) {
        self.channel.borrow().answered(attempt);
    }

    fn released(&self, server: ServerId) {
        self.channel.borrow().released(server);
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.channel.borrow().backup_delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.channel.borrow().may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.channel.borrow().may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.channel.borrow().ended(call);
    }
}

/// A policy that refuses at a given rate, for a reason that goes round, and counts the endings it is told of.
#[derive(Debug, Default)]
pub struct SimPolicy {
    delay: Option<BackupDelay>,
    refuse_percent: u32,
    asked: AtomicU32,
    told: AtomicU32,
}

impl SimPolicy {
    /// A policy that answers this delay and refuses so many of a hundred.
    #[must_use]
    pub fn new(delay: Option<BackupDelay>, refuse_percent: u32) -> Self {
        Self { delay, refuse_percent, ..Self::default() }
    }

    /// How many endings it was told of.
    #[must_use]
    pub fn told(&self) -> u32 {
        self.told.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Result<(), Denial> {
        const REASONS: [Denial; 4] = [Denial::Policy, Denial::Ratio, Denial::Tokens, Denial::Budget];
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        // 37 is coprime to 100: every hundred questions see each value once.
        if asked.wrapping_mul(37) % 100 >= self.refuse_percent {
            return Ok(());
        }
        Err(REASONS.into_iter().cycle().nth(asked as usize % REASONS.len()).unwrap_or(Denial::Policy))
    }
}

impl BackupPolicy for SimPolicy {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        self.delay
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        self.answer()
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        self.answer()
    }

    fn ended(&self, _: &Ended<'_>) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }
}

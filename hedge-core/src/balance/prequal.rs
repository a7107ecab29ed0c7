//! `prequal`: the server that is quickest according to probes, as long as it is not among the busiest (Wydrowski,
//! Kleinberg, Rumble, Archer: "Load is not what you should balance: Introducing Prequal", NSDI 2024).
//!
//! Every call sends a few probes to servers drawn at random. A server answers a probe with its requests in flight, and
//! with the latency that it has lately had at so many. The answers are pooled. Calls choose from what the probes of
//! earlier calls have brought, so no call waits for a probe. A probe is hot if its requests in flight exceed a quantile
//! of those in recent answers; otherwise it is cold. The choice is the cold probe with the least latency, or, if all
//! are hot, the one with the fewest requests in flight. Balancers that know only what this client has seen cannot do
//! that: `prequal` sees the load of other clients on a server before it sends a call there.
//!
//! Probes leave the pool
//! - when they are older than 1 s;
//! - when a newer one needs the place, the oldest first; a server's own last one before that;
//! - when they were used often enough: max(1, (1 + δ) / ((1 - m/n) r - d)) times, where the pool has m places, there
//!   are n servers, and a call sends r probes and removes d. A fraction is rounded up at random, in as many cases as it
//!   says;
//! - one for each call, in turn the oldest and the worst. Otherwise the pool fills with servers that are never chosen.
//!
//! Each request that this client sends to a server counts as one more in flight at the server's probe, until a new
//! answer counts it itself.
//!
//! # Where the paper leaves it open
//!
//! - With few servers or probes the divisor above is not positive: no number of uses keeps the pool from running dry.
//!   Then a probe may be used until it leaves the pool in another way. Under the default options this holds up to 24
//!   servers. A number of uses of 255 or more counts as endless too.
//! - There is one probe a server: (1 - m/n) r is how many a call brings of servers that the pool does not have.
//! - The distribution is that of the last 64 answers, as they came; which of them are how old does not matter. At a quantile
//!   of 0 everything is hot, at 1 nothing, whatever requests were sent since.
//! - Of equal latencies the fewest in flight, of equal numbers in flight the least latency; where both are equal chance
//!   decides. If the youngest won, idle servers that are alike would not share: the one that answers last would have nearly
//!   all calls. A microsecond less is less: it is the quickest server that has nearly all calls while it is cold.
//! - Servers are probed in a random order. A server that leaves the list takes its probe with it.
//! - Removals never leave fewer probes than a choice needs, nor than a call brings. They come before the choice. Where each
//!   call probes every server no probe is old, and the server that answers first would be the one removed each time. They are
//!   made of few servers too: without them ten simulated ones at 0.9 of their capacity had a p99 of 57 ms instead of 54, by
//!   older probes.
//! - Of rates with a fraction, how many probes or removals a call has is counted out, not left to chance.
//! - A server that fails fast has little in flight and short latencies: a sinkhole. The paper has a heuristic against
//!   it, and does not say which. Here `p2c`'s penalty is added to the latency. While the penalty exceeds both the
//!   latency and 10 ms, the server's probe does not count at all. If too few others are left, `p2c` chooses.
//! - Without calls there are no probes: after a pause the first calls find none and fall back on `p2c`.
//!
//! # Cost
//!
//! 640 bytes for a client, and [`p2c`](super::p2c)'s 16 a server. A choice is three loads a probe, 16 probes at most. A
//! commit is a load a probe and one compare-and-swap. The start of a call is two read-modify-writes and twice the loads
//! of a choice. A probe's answer is some hundred comparisons. On one core of an x86-64 host, with 16 probes: 50 ns, 20,
//! 130 and 100. There is no lock and no allocation; a race may lose a probe, a use or a removal.
//!
//! [`Prequal`] is the balancer, [`ProbePool`] the pool in it, and [`ServerLoad`] what a server answers probes by. If no
//! server answers probes, for example because the transport cannot ask, it is `p2c`.

mod balancer;
mod load;
mod pool;
mod rif;

use core::cmp::{Ordering, Reverse};
use core::fmt;
use core::num::NonZeroU64;

use super::ProbeAnswer;
use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::id::ServerId;
use crate::random::Seeds;
use crate::time::{Duration, Instant, Micros};
use pool::{ENDLESS, POOL, Pool, Probe};
use rif::RifEstimate;

pub use balancer::{Prequal, PrequalTicket};
pub use load::ServerLoad;

/// The ranges of the options, from and to.
const PROBES: (u32, u32) = (1, 1_000 * POOL);
const MAX_AGE: (Micros, Micros) = (Micros::from_millis(1), Micros::from_secs(60));
const QUANTILE: (u32, u32) = (0, 1_000);
const DELTA: (u32, u32) = (1, 1_000_000);
const MIN_PROBES: (u32, u32) = (1, POOL);
/// A penalty up to this does not exclude a server.
const TOLERATED: Micros = Micros::from_millis(10);

/// The options of a [`ProbePool`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PrequalOptions {
    /// How many probes a thousand calls send, in \[1, 16000\]. Default 3000: three a call. With less than one a call,
    /// tail latencies get worse.
    pub probes_per_1000_calls: u32,
    /// How many probes a thousand calls remove, fewer than they send. Default 1000: one a call.
    pub removals_per_1000_calls: u32,
    /// How long a probe counts after its answer, from 1 ms to 60 s. Default 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::text::span"))]
    pub max_age: Duration,
    /// The quantile of the requests in flight above which a probe is hot, in thousandths. Default 841: 2^-0.25; 600 to 900
    /// are good. At 0 only the requests in flight decide, at 1000 only the latencies.
    pub rif_quantile_permille: u32,
    /// δ, how fast probes gather, in thousandths from 1 to 1000000. The larger it is, the more often each probe is
    /// used. Default 1000.
    pub reuse_delta_permille: u32,
    /// The pool makes no choice with fewer usable probes than this, in \[1, 16\]. Default 2.
    pub min_probes: u32,
}

impl PrequalOptions {
    /// The paper's options.
    pub const DEFAULT: Self = Self {
        probes_per_1000_calls: 3_000,
        removals_per_1000_calls: 1_000,
        max_age: Duration::from_secs(1),
        rif_quantile_permille: 841,
        reuse_delta_permille: 1_000,
        min_probes: 2,
    };

    /// Checks them.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), PrequalError> {
        let probes = self.probes_per_1000_calls;
        if probes < PROBES.0 || probes > PROBES.1 {
            return Err(PrequalError::ProbesPer1000Calls(probes));
        }
        let removals = self.removals_per_1000_calls;
        if removals >= probes {
            return Err(PrequalError::RemovalsPer1000Calls { removals, probes });
        }
        let max_age = Micros::from_duration(self.max_age).as_micros();
        if max_age < MAX_AGE.0.as_micros() || max_age > MAX_AGE.1.as_micros() {
            return Err(PrequalError::MaxAge(self.max_age));
        }
        if self.rif_quantile_permille > QUANTILE.1 {
            return Err(PrequalError::RifQuantilePermille(self.rif_quantile_permille));
        }
        if self.reuse_delta_permille < DELTA.0 || self.reuse_delta_permille > DELTA.1 {
            return Err(PrequalError::ReuseDeltaPermille(self.reuse_delta_permille));
        }
        if self.min_probes < MIN_PROBES.0 || self.min_probes > MIN_PROBES.1 {
            return Err(PrequalError::MinProbes(self.min_probes));
        }
        Ok(())
    }
}

impl Default for PrequalOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A client's pool of probes, and the choice from it. Threads share it through `&self`.
///
/// ```
/// use hedge_core::balance::ProbeAnswer;
/// use hedge_core::balance::prequal::{PrequalOptions, ProbePool};
/// use hedge_core::id::ServerId;
/// use hedge_core::time::{Duration, Instant, Micros};
///
/// let prequal = ProbePool::new(PrequalOptions::DEFAULT, 7)?;
/// let (now, servers) = (Instant::ZERO, 100);
/// let due = prequal.call_started(now);
/// let mut targets = prequal.targets(servers, due);
/// assert_eq!(targets.len(), 3);
/// // They are sent. Their answers, and those of others, serve later calls.
/// let answers = [(2, 30), (1, 40), (3, 40), (90, 10), (2, 50), (1, 60), (3, 70)];
/// for (slot, (in_flight, ms)) in (0..).zip(answers) {
///     let answer = ProbeAnswer { in_flight, latency: Duration::from_millis(ms) };
///     prequal.probed(now, servers, ServerId::new(slot, 0), answer);
/// }
/// // All of them are up, and none has failed.
/// let chosen = prequal.choose(now, |_| Some(Micros::ZERO)).ok_or("no choice")?;
/// assert_eq!(chosen, ServerId::new(0, 0), "the quickest of all is too busy");
/// prequal.commit(chosen);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProbePool {
    pool: Pool,
    estimate: RifEstimate,
    options: PrequalOptions,
    seeds: Seeds,
    probes: Rate,
    removals: Rate,
    /// How many removals there were: says which kind is next.
    removed: AtomicU32,
}

impl ProbePool {
    /// An empty pool. The servers to probe, and the rounding of uses, follow from `seed`.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn new(options: PrequalOptions, seed: u64) -> Result<Self, PrequalError> {
        match options.validate() {
            Ok(()) => Ok(Self::with_valid(options, seed)),
            Err(error) => Err(error),
        }
    }

    const fn with_valid(options: PrequalOptions, seed: u64) -> Self {
        Self {
            pool: Pool::new(),
            estimate: RifEstimate::new(),
            options,
            seeds: Seeds::new(seed),
            // So that the first call of all sends a probe.
            probes: Rate::new(options.probes_per_1000_calls, u32::MAX),
            removals: Rate::new(options.removals_per_1000_calls, 0),
            removed: AtomicU32::new(0),
        }
    }

    /// A call starts, whatever becomes of it: removes the probes that are due for removal, and returns how many probes
    /// to send. Once for each call, not for its retries and backups.
    #[must_use]
    pub fn call_started(&self, now: Instant) -> u32 {
        for _ in 0..self.removals.next() {
            if !self.remove_one(now) {
                break;
            }
        }
        self.probes.next()
    }

    /// Where to send so many probes: positions in a list of `servers`, all alike likely, each at most once, 16 at most, in a
    /// random order. Those of servers that are down are not to be sent, nor others in their place.
    #[must_use]
    pub fn targets(&self, servers: u32, probes: u32) -> Targets {
        let most = probes.min(servers).min(POOL);
        let rng = fastrand::Rng::with_seed(self.seeds.next());
        Targets { rng, drawn: [0; POOL as usize], count: 0, most, servers }
    }

    /// A server, one of `servers`, has answered a probe.
    pub fn probed(&self, now: Instant, servers: u32, server: ServerId, answer: ProbeAnswer) {
        let in_flight = answer.in_flight.min(pool::MOST_IN_FLIGHT);
        self.estimate.add(in_flight, self.options.rif_quantile_permille);
        self.pool.put(now, server, self.uses(servers), in_flight, answer.latency.into());
    }

    /// The server to choose by what the pool holds, changing nothing but what chance draws from. `None` if too few probes can
    /// be used: choose by other means.
    ///
    /// `penalty` is asked for each server with a probe: what is held against it, as [`P2c::penalty`](super::p2c::P2c::penalty) has it, or `None` if
    /// it is gone, down, or tried already in this call.
    pub fn choose(&self, now: Instant, penalty: impl Fn(ServerId) -> Option<Micros>) -> Option<ServerId> {
        let mut usable = 0;
        let ranked = self.fresh(now).filter_map(|mut probe| {
            let penalty = penalty(probe.server).filter(|penalty| *penalty <= probe.latency.max(TOLERATED))?;
            probe.latency = probe.latency + penalty;
            usable += 1;
            Some((self.rank(&probe), probe.server))
        });
        let best = self.least(ranked);
        best.filter(|_| usable >= self.options.min_probes)
    }

    /// An attempt starts at a server that this pool chose: its probe has been used once, and has one more request in
    /// flight.
    pub fn commit(&self, server: ServerId) {
        self.pool.sent(server, true);
    }

    /// An attempt starts at a server that this pool did not choose: its probe, if there is one, has one more request in
    /// flight.
    pub fn sent(&self, server: ServerId) {
        self.pool.sent(server, false);
    }

    /// How many probes in the pool are not too old.
    #[must_use]
    pub fn len(&self, now: Instant) -> usize {
        self.fresh(now).count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        self.len(now) == 0
    }

    fn fresh(&self, now: Instant) -> impl Iterator<Item = Probe<'_>> {
        let max_age = Micros::from_duration(self.options.max_age);
        self.pool.probes(now).filter(move |probe| probe.age <= max_age)
    }

    /// Drops the probes of servers of which `stays` is not true.
    fn retain(&self, stays: impl Fn(ServerId) -> bool) {
        self.pool.retain(stays);
    }

    /// The least is the best, the most the worst: cold by latency, then hot by requests in flight.
    fn rank(&self, probe: &Probe<'_>) -> (bool, u64, u64) {
        let (in_flight, latency) = (u64::from(probe.in_flight), probe.latency.as_micros());
        if self.estimate.is_hot(probe.in_flight) { (true, in_flight, latency) } else { (false, latency, in_flight) }
    }

    /// What has the least key; of several that have it chance takes one, each as likely.
    fn least<K: Ord, T>(&self, of: impl Iterator<Item = (K, T)>) -> Option<T> {
        let (mut best, mut alike) = (None::<(K, T)>, 1);
        for (key, it) in of {
            alike = match best.as_ref().map(|(least, _)| key.cmp(least)) {
                Some(Ordering::Greater) => continue,
                Some(Ordering::Equal) => alike + 1,
                _ => 1,
            };
            if alike == 1 || self.seeds.next().is_multiple_of(alike) {
                best = Some((key, it));
            }
        }
        best.map(|(_, it)| it)
    }

    /// In turn the oldest and the worst. False if none can be spared.
    fn remove_one(&self, now: Instant) -> bool {
        let PrequalOptions { probes_per_1000_calls, min_probes, .. } = self.options;
        let kept = min_probes.max(probes_per_1000_calls.div_ceil(1_000));
        if u32::try_from(self.len(now)).unwrap_or(0) <= kept {
            return false;
        }
        let turn = self.removed.fetch_add(1, Relaxed);
        let found = if turn.is_multiple_of(2) {
            self.least(self.fresh(now).map(|probe| (Reverse(probe.age), probe)))
        } else {
            self.least(self.fresh(now).map(|probe| (Reverse(self.rank(&probe)), probe)))
        };
        if let Some(probe) = found {
            probe.remove();
        }
        true
    }

    /// How often a probe may be used.
    fn uses(&self, servers: u32) -> u32 {
        let PrequalOptions { probes_per_1000_calls, removals_per_1000_calls, reuse_delta_permille, .. } = self.options;
        // More servers than a list can have; no product below overflows.
        let n = u64::from(servers.min(1 << 20));
        let brought = n.saturating_sub(POOL.into()) * u64::from(probes_per_1000_calls);
        let net = brought.saturating_sub(n * u64::from(removals_per_1000_calls));
        let Some(gathered) = NonZeroU64::new(net) else { return ENDLESS };
        let uses = (((1_000 + u64::from(reuse_delta_permille)) * n) << 16) / gathered;
        // A fraction f gives one use more in f of all cases.
        let rounded = (uses + (self.seeds.next() & 0xFFFF)) >> 16;
        u32::try_from(rounded).unwrap_or(ENDLESS).clamp(1, ENDLESS)
    }
}

/// Random positions in a list, each at most once, as [`ProbePool::targets`] returns them. They are drawn when they are
/// asked for.
#[derive(Clone, Debug)]
pub struct Targets {
    rng: fastrand::Rng,
    /// Those that were drawn, ascending.
    drawn: [u32; POOL as usize],
    count: u32,
    most: u32,
    servers: u32,
}

// Every sequence is as likely as any other: each draw is the n-th of the positions that are left.
impl Iterator for Targets {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let left = self.servers.checked_sub(self.count).filter(|_| self.count < self.most)?;
        let wide = u64::from(left) * u64::from(self.rng.u32(..));
        let mut position = u32::try_from(wide >> 32).ok()?;
        let before =
            self.drawn.iter().zip(0..self.count).take_while(|(drawn, place)| **drawn <= position + place).count();
        position += u32::try_from(before).ok()?;
        // Each of those behind it moves on by one.
        let mut next = position;
        self.count += 1;
        for (there, _) in self.drawn.iter_mut().zip(0..self.count).skip(before) {
            core::mem::swap(there, &mut next);
        }
        Some(position)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.most - self.count).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Targets {}

/// A number of things for each call, as an average that is met as evenly as possible.
#[derive(Debug)]
struct Rate {
    whole: u32,
    /// The fraction of the number, times 2^32.
    fraction: u32,
    /// The sum of the fractions: a call that makes it overflow gets one more.
    sum: AtomicU32,
}

impl Rate {
    const fn new(permille: u32, sum: u32) -> Self {
        // Below 2^32.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder is below its divisor")]
        let fraction = (((permille % 1_000) as u64) << 32).div_euclid(1_000) as u32;
        Self { whole: permille / 1_000, fraction, sum: AtomicU32::new(sum) }
    }

    fn next(&self) -> u32 {
        if self.fraction == 0 {
            return self.whole;
        }
        let sum = self.sum.fetch_add(self.fraction, Relaxed);
        self.whole + u32::from(sum.checked_add(self.fraction).is_none())
    }
}

/// An option of `prequal` that is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PrequalError {
    /// `probes_per_1000_calls`.
    ProbesPer1000Calls(u32),
    /// `removals_per_1000_calls`: the pool could only run dry.
    RemovalsPer1000Calls {
        /// What was asked for.
        removals: u32,
        /// `probes_per_1000_calls`.
        probes: u32,
    },
    /// `max_age`.
    MaxAge(Duration),
    /// `rif_quantile_permille`.
    RifQuantilePermille(u32),
    /// `reuse_delta_permille`.
    ReuseDeltaPermille(u32),
    /// `min_probes`.
    MinProbes(u32),
}

impl fmt::Display for PrequalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole =
            |name: &str, value: u32, (from, to): (u32, u32)| write!(f, "{name} {value}: must be in [{from}, {to}]");
        match *self {
            Self::ProbesPer1000Calls(probes) => whole("probes_per_1000_calls", probes, PROBES),
            Self::RemovalsPer1000Calls { removals, probes } => {
                write!(f, "removals_per_1000_calls {removals}: must be in [0, {probes}), below probes_per_1000_calls")
            }
            Self::MaxAge(age) => {
                write!(f, "max_age {}: must be in [{}, {}]", Micros::from(age), MAX_AGE.0, MAX_AGE.1)
            }
            Self::RifQuantilePermille(quantile) => whole("rif_quantile_permille", quantile, QUANTILE),
            Self::ReuseDeltaPermille(delta) => whole("reuse_delta_permille", delta, DELTA),
            Self::MinProbes(probes) => whole("min_probes", probes, MIN_PROBES),
        }
    }
}

impl core::error::Error for PrequalError {}

#[cfg(test)]
mod alike;
#[cfg(test)]
mod tests;

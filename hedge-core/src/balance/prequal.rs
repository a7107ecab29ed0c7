//! The balancer `prequal`. It chooses the server that is fastest according to probes, unless that server is among the
//! busiest (Wydrowski, Kleinberg, Rumble, Archer: "Load is not what you should balance: Introducing Prequal", NSDI
//! 2024).
//!
//! Every call sends a few probes to servers that are drawn at random. A server answers a probe with two numbers: how
//! many requests are in flight at the server, and which latency it recently had with that many requests. The answers
//! are kept in a pool. A call chooses by the answers to the probes of earlier calls, so no call waits for a probe. A
//! probe is hot if its requests in flight exceed a quantile of those in recent answers; otherwise it is cold. The
//! choice is the cold probe with the lowest latency. If all probes are hot, the choice is the probe with the fewest
//! requests in flight. So `prequal` knows the load that other clients put on a server before it sends a call there.
//! Balancers that only know what this client has seen cannot do this.
//!
//! A probe leaves the pool in one of four cases:
//!
//! - The probe is older than 1 s.
//! - A newer probe needs its place. A new probe replaces the last probe of the same server. If there is none and the
//!   pool is full, it replaces the oldest probe of all.
//! - The probe was used often enough. The number of uses is max(1, (1 + δ) / ((1 - m/n) r - d)). Here the pool has m
//!   places, there are n servers, and a call sends r probes and removes d probes. A fraction f is rounded up at random,
//!   with the probability f.
//! - A call removes the probe. Under the default options each call removes one probe: the oldest and the worst
//!   alternate. Without removals, the pool would fill with probes of servers that are never chosen.
//!
//! Each request that this client sends to a server is added to the requests in flight of that server's probe. The
//! server's next answer already contains such requests.
//!
//! # Choices that the paper leaves open
//!
//! - With few servers or probes, the divisor above is not positive: the pool becomes empty, however often each probe
//!   may be used. In this case a probe may be used until it leaves the pool in another way. Under the default options
//!   this applies to up to 24 servers. A number of uses of 255 or more also counts as endless.
//! - There is at most one probe for each server. So (1 - m/n) r is the number of probes that a call brings from
//!   servers that are not in the pool.
//! - The quantile is computed from the last 64 answers, whatever their age. At a quantile of 0 every probe is hot. At
//!   a quantile of 1 no probe is hot, however many requests were sent since.
//! - If two cold probes have the same latency, the one with fewer requests in flight is chosen. If two hot probes
//!   have the same number of requests in flight, the one with the lower latency is chosen. If both values are equal,
//!   the choice is random. If the youngest probe won instead, equal idle servers would not share the calls: the server
//!   that answers last would get nearly all of them. Even a difference of one microsecond counts: the fastest server
//!   gets nearly all calls while it is cold.
//! - Servers are probed in a random order. If a server leaves the list, its probe leaves the pool.
//! - A removal always leaves as many probes as a choice needs, and as many as a call brings. Removals come before the
//!   choice. If each call probes every server, no probe is old, and each call would remove the probe of the server that
//!   answers first. Removals are also made if there are few servers. Without them, ten simulated servers at 0.9 of
//!   their capacity had a p99 of 57 ms instead of 54 ms, because probes were older.
//! - If a rate has a fraction, the number of probes or removals of each call follows from a running sum, not from a
//!   random number.
//! - A server that fails fast has few requests in flight and short latencies, so it would attract all calls. The
//!   paper has a heuristic against this, but does not describe it. Here the penalty of `p2c` is added to the latency.
//!   While the penalty is above both the latency and 10 ms, the server's probe does not count at all. If too few other
//!   probes are left, `p2c` chooses.
//! - Without calls there are no probes. After a pause, the first calls find no probes, and `p2c` chooses for them.
//!
//! # Cost
//!
//! `prequal` takes 640 bytes for a client, and the 16 bytes of [`p2c`](super::p2c) for each server. A choice is five
//! loads for each probe, of which there are at most 16. A commit is a load for each probe, and one compare-and-swap.
//! Under the default options, the start of a call is three read-modify-writes, and six or seven loads for each probe.
//! Recording a probe's answer is a few hundred comparisons. On one core of an x86-64 host, with 16 probes, these four
//! operations take 50, 20, 130 and 100 ns. There is no lock and no allocation. A race between threads may lose a probe,
//! a use or a removal.
//!
//! [`Prequal`] is the balancer, and [`ProbePool`] is the pool inside the balancer. A server uses [`ServerLoad`] to
//! answer probes. If no server answers probes, for example because the transport cannot send them, `prequal` works like
//! `p2c`.

mod balancer;
mod load;
mod pool;
mod rif;

use core::cmp::{Ordering, Reverse};
use core::fmt;
use core::num::NonZeroU64;

use super::ProbeAnswer;
use crate::atomic::{AtomicU32, Ordering::Relaxed};
use crate::bounded::{Bounded, BoundedSpan};
use crate::id::ServerId;
use crate::random::Seeds;
use crate::time::{Instant, Micros};
use pool::{ENDLESS, POOL, Pool, Probe};
use rif::RifEstimate;

pub use balancer::{Prequal, PrequalTicket};
pub use load::ServerLoad;

/// A penalty up to this length never excludes a server. A longer penalty excludes the server if the penalty is also
/// above the latency of the server's probe.
const TOLERATED: Micros = Micros::from_millis(10);

/// How many probes a thousand calls send, in \[1, 16000\].
pub type Probes = Bounded<1, 16_000>;

/// How many probes calls send, and how many probes they remove. Calls must remove fewer probes than they send.
/// Otherwise the pool would become empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "file::Rates", into = "file::Rates")
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeRates {
    probes: Probes,
    removals: u32,
}

impl ProbeRates {
    /// Makes the rates: a thousand calls send `probes` probes and remove `removals` probes.
    ///
    /// # Errors
    /// Returns an error if `removals` is not below `probes`. The pool would become empty then.
    pub const fn new(probes: Probes, removals: u32) -> Result<Self, ProbeRatesError> {
        if removals < probes.get() { Ok(Self { probes, removals }) } else { Err(ProbeRatesError { probes, removals }) }
    }

    /// Makes the rates of a thousand calls from constants. The compiler checks that they are valid.
    #[must_use]
    pub const fn of<const PROBES: u32, const REMOVALS: u32>() -> Self {
        const { assert!(REMOVALS < PROBES, "the pool would run dry") };
        Self { probes: Bounded::of::<PROBES>(), removals: REMOVALS }
    }

    /// Returns how many probes a thousand calls send.
    #[must_use]
    pub const fn probes(self) -> Probes {
        self.probes
    }

    /// Returns how many probes a thousand calls remove.
    #[must_use]
    pub const fn removals(self) -> u32 {
        self.removals
    }
}

/// The error for rates under which calls would remove all the probes that they send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeRatesError {
    /// How many probes a thousand calls send.
    pub probes: Probes,
    /// How many probes a thousand calls would remove.
    pub removals: u32,
}

impl fmt::Display for ProbeRatesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probes, removals } = self;
        write!(f, "removals {removals}: must be in [0, {probes}), below the probes")
    }
}

impl core::error::Error for ProbeRatesError {}

/// The options of a [`ProbePool`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PrequalOptions {
    /// How many probes a thousand calls send and remove. Default 3000 and 1000: a call sends three and removes one. With
    /// less than one probe a call, tail latencies get worse.
    pub rates: ProbeRates,
    /// The age up to which a probe's answer counts, from 1 ms to 60 s. Default 1 s.
    pub max_age: BoundedSpan<1, 60_000>,
    /// The quantile of the requests in flight, in thousandths. A probe above this quantile is hot. Default 841, which
    /// is 2^-0.25; values from 600 to 900 work well. At 0 only the requests in flight decide, at 1000 only the
    /// latencies.
    pub rif_quantile_permille: Bounded<0, 1_000>,
    /// The number δ in thousandths. It says how fast the number of probes in the pool grows. With a larger δ, each
    /// probe is used more often. Default 1000.
    pub reuse_delta_permille: Bounded<1, 1_000_000>,
    /// The smallest number of usable probes with which the pool makes a choice. Default 2.
    pub min_probes: Bounded<1, 16>,
}

impl PrequalOptions {
    /// The options that the paper recommends.
    pub const DEFAULT: Self = Self {
        rates: ProbeRates::of::<3_000, 1_000>(),
        max_age: BoundedSpan::of_secs::<1>(),
        rif_quantile_permille: Bounded::of::<841>(),
        reuse_delta_permille: Bounded::of::<1_000>(),
        min_probes: Bounded::of::<2>(),
    };
}

impl Default for PrequalOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A client's pool of probes. The pool uses the answers to these probes to choose a server for a call. Threads share
/// the pool through `&self`.
///
/// ```
/// use hedge_core::balance::ProbeAnswer;
/// use hedge_core::balance::prequal::{PrequalOptions, ProbePool};
/// use hedge_core::id::ServerId;
/// use hedge_core::time::{Duration, Instant, Micros};
///
/// let prequal = ProbePool::new(PrequalOptions::DEFAULT, 7);
/// let (now, servers) = (Instant::ZERO, 100);
/// let due = prequal.call_started(now);
/// let mut targets = prequal.targets(servers, due);
/// assert_eq!(targets.len(), 3);
/// // These probes are sent. Their answers, and those of other servers, are for later calls.
/// let answers = [(2, 30), (1, 40), (3, 40), (90, 10), (2, 50), (1, 60), (3, 70)];
/// for (slot, (in_flight, ms)) in (0..).zip(answers) {
///     let answer = ProbeAnswer { in_flight, latency: Duration::from_millis(ms) };
///     prequal.probed(now, servers, ServerId::new(slot, 0), answer);
/// }
/// // All of these servers are up, and none has failed.
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
    /// How many probes were removed so far. This number decides whether the next removal takes the oldest or the worst
    /// probe.
    removed: AtomicU32,
}

impl ProbePool {
    /// Makes an empty pool. `seed` determines which servers are probed, and how a fraction in the number of uses is
    /// rounded.
    #[must_use]
    pub const fn new(options: PrequalOptions, seed: u64) -> Self {
        Self {
            pool: Pool::new(),
            estimate: RifEstimate::new(),
            options,
            seeds: Seeds::new(seed),
            // With this value, the very first call sends a probe.
            probes: Rate::new(options.rates.probes.get(), u32::MAX),
            removals: Rate::new(options.rates.removals, 0),
            removed: AtomicU32::new(0),
        }
    }

    /// Records the start of a call. Removes the probes that are due for removal, and returns how many probes to send.
    /// Call this once for each call, however the call ends, and not for retries and backups.
    #[must_use]
    pub fn call_started(&self, now: Instant) -> u32 {
        for _ in 0..self.removals.next() {
            if !self.remove_one(now) {
                break;
            }
        }
        self.probes.next()
    }

    /// Returns where to send `probes` probes: positions in a list of `servers` servers, in a random order, each at most
    /// once, and all with the same probability. At most 16 positions are returned. Skip the positions of servers that
    /// are down, and do not replace them by others.
    #[must_use]
    pub fn targets(&self, servers: u32, probes: u32) -> Targets {
        let most = probes.min(servers).min(POOL);
        let rng = fastrand::Rng::with_seed(self.seeds.next());
        Targets { rng, drawn: [0; POOL as usize], count: 0, most, servers }
    }

    /// Records the answer of a server to a probe. `servers` is the number of servers in the list.
    pub fn probed(&self, now: Instant, servers: u32, server: ServerId, answer: ProbeAnswer) {
        let in_flight = answer.in_flight.min(pool::MOST_IN_FLIGHT);
        self.estimate.add(in_flight, self.options.rif_quantile_permille.get());
        self.pool.put(now, server, self.uses(servers), in_flight, answer.latency.into());
    }

    /// Chooses a server by the probes in the pool. Returns `None` if too few probes can be used; the caller must then
    /// choose in another way. This changes only the state of the random numbers.
    ///
    /// `penalty` is called for each server with a probe. It returns the server's penalty, as
    /// [`P2c::penalty`](super::p2c::P2c::penalty) does. It returns `None` if the server is gone, is down, or was tried
    /// in this call.
    pub fn choose(&self, now: Instant, penalty: impl Fn(ServerId) -> Option<Micros>) -> Option<ServerId> {
        let mut usable = 0;
        let ranked = self.fresh(now).filter_map(|mut probe| {
            let penalty = penalty(probe.server).filter(|penalty| *penalty <= probe.latency.max(TOLERATED))?;
            probe.latency = probe.latency + penalty;
            usable += 1;
            Some((self.rank(&probe), probe.server))
        });
        let best = self.least(ranked);
        best.filter(|_| usable >= self.options.min_probes.get())
    }

    /// Records that an attempt starts at a server that this pool chose. The server's probe can then be used one time
    /// less, and counts one more request in flight.
    pub fn commit(&self, server: ServerId) {
        self.pool.sent(server, true);
    }

    /// Records that an attempt starts at a server that this pool did not choose. If the server has a probe, the probe
    /// then counts one more request in flight.
    pub fn sent(&self, server: ServerId) {
        self.pool.sent(server, false);
    }

    /// Returns how many probes in the pool are young enough to be used.
    #[must_use]
    pub fn len(&self, now: Instant) -> usize {
        self.fresh(now).count()
    }

    /// Returns whether the pool has no probe that is young enough to be used.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        self.len(now) == 0
    }

    fn fresh(&self, now: Instant) -> impl Iterator<Item = Probe<'_>> {
        let max_age = self.options.max_age.micros();
        self.pool.probes(now).filter(move |probe| probe.age <= max_age)
    }

    /// Removes the probes of all servers for which `stays` returns false.
    fn retain(&self, stays: impl Fn(ServerId) -> bool) {
        self.pool.retain(stays);
    }

    /// Returns the rank of a probe; the lowest rank is the best. Cold probes come first, sorted by latency. Hot probes
    /// follow, sorted by requests in flight.
    fn rank(&self, probe: &Probe<'_>) -> (bool, u64, u64) {
        let (in_flight, latency) = (u64::from(probe.in_flight), probe.latency.as_micros());
        if self.estimate.is_hot(probe.in_flight) { (true, in_flight, latency) } else { (false, latency, in_flight) }
    }

    /// Returns the item with the smallest key. If several items have this key, one of them is drawn, all with equal
    /// probability.
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

    /// Removes a probe: the oldest and the worst probe alternate. Returns false if the pool needs all its probes.
    fn remove_one(&self, now: Instant) -> bool {
        let PrequalOptions { rates, min_probes, .. } = self.options;
        let kept = min_probes.get().max(rates.probes.get().div_ceil(1_000));
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

    /// Returns how many times a new probe may be used.
    fn uses(&self, servers: u32) -> u32 {
        let PrequalOptions { rates: ProbeRates { probes, removals }, reuse_delta_permille, .. } = self.options;
        // This limit is above the length of any list. It ensures that no product below overflows.
        let n = u64::from(servers.min(1 << 20));
        let brought = n.saturating_sub(POOL.into()) * u64::from(probes.get());
        let net = brought.saturating_sub(n * u64::from(removals));
        let Some(gathered) = NonZeroU64::new(net) else { return ENDLESS };
        let uses = (((1_000 + u64::from(reuse_delta_permille.get())) * n) << 16) / gathered;
        // If the number of uses has a fraction f, one more use is given with probability f.
        let rounded = (uses + (self.seeds.next() & 0xFFFF)) >> 16;
        u32::try_from(rounded).unwrap_or(ENDLESS).clamp(1, ENDLESS)
    }
}

/// Random positions in a list, each at most once. [`ProbePool::targets`] makes this iterator. A position is drawn only
/// when it is asked for.
#[derive(Clone, Debug)]
pub struct Targets {
    rng: fastrand::Rng,
    /// The positions that were drawn, in ascending order.
    drawn: [u32; POOL as usize],
    count: u32,
    most: u32,
    servers: u32,
}

// Each draw takes a random one of the positions that are left, so all sequences have the same probability.
impl Iterator for Targets {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let left = self.servers.checked_sub(self.count).filter(|_| self.count < self.most)?;
        let wide = u64::from(left) * u64::from(self.rng.u32(..));
        let mut position = u32::try_from(wide >> 32).ok()?;
        let before =
            self.drawn.iter().zip(0..self.count).take_while(|(drawn, place)| **drawn <= position + place).count();
        position += u32::try_from(before).ok()?;
        // The loop inserts the position: each larger position moves one place on.
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

/// Gives each call a whole number, so that the average of these numbers over many calls is exactly the rate. The
/// numbers are spread as evenly as possible.
#[derive(Debug)]
struct Rate {
    whole: u32,
    /// The fractional part of the rate, times 2^32.
    fraction: u32,
    /// The sum of the fractional parts so far, modulo 2^32. A call that makes this sum overflow gets a number that is
    /// greater by one.
    sum: AtomicU32,
}

impl Rate {
    const fn new(permille: u32, sum: u32) -> Self {
        // The result is below 2^32.
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

/// The form of the rates in files. serde reads and writes this form.
#[cfg(feature = "serde")]
mod file {
    use super::{ProbeRates, ProbeRatesError, Probes};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "ProbeRates", deny_unknown_fields)]
    pub(super) struct Rates {
        probes: Probes,
        removals: u32,
    }

    impl From<ProbeRates> for Rates {
        fn from(rates: ProbeRates) -> Self {
            Self { probes: rates.probes, removals: rates.removals }
        }
    }

    impl TryFrom<Rates> for ProbeRates {
        type Error = ProbeRatesError;

        fn try_from(rates: Rates) -> Result<Self, ProbeRatesError> {
            Self::new(rates.probes, rates.removals)
        }
    }
}

#[cfg(test)]
mod alike;
#[cfg(test)]
mod tests;

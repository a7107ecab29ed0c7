//! What it costs to choose a server, beside a bare atomic addition, tower's p2c and pingora's ketama.
//!
//! Every pick is fed by the one before: its time, its chance or its key is made of what was chosen, so that none begins
//! before the last has ended. A pick is a balancer's first offer of a list in memory, committed to; what it knows of the
//! servers is there and is used. A ring is given the hash of a key of four bytes, ours as pingora's.

use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use fastrand::Rng;
use hedge_core::balance::hash::murmur3_32;
use hedge_core::balance::la::LocalityAware;
use hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_core::balance::ring::{Ring, RingHash};
use hedge_core::balance::{
    AnyBalancer, Balancer, Consistent, Heap, Offer, RandomChoice, RoundRobin, Search, Selection, WeightedRandom,
    WeightedRoundRobin,
};
use hedge_core::call::Host;
use hedge_core::id::AttemptId;
use hedge_core::outcome::{Code, Feedback, SentAttempt};
use hedge_core::time::{Duration, Instant, Micros, Timeout};
use hedge_instructions::driven::{Failed, by_hand};
use hedge_instructions::{Line, line};
use pingora_ketama::{Bucket, Continuum};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower_service::Service;

use crate::harness::Target::{AtMost, NoAllocation};
use crate::harness::{Contender, timed};
use crate::pair::Pair;
use crate::servers::{NOW, Servers, address};

/// A bare read-modify-write.
const BARE: &str = "one atomic add, fed by the last";
const TOWER: &str = "tower: p2c, PeakEwma";
const KETAMA: &str = "pingora-ketama, 160 points";
const KETAMA_OF_THOUSAND: &str = "pingora-ketama, 160 points of 1000";
const RING: &str = "c_ketama, 160 points";
const RING_OF_THOUSAND: &str = "c_ketama, 160 points of 1000";
const TOWER_OF_THOUSAND: &str = "tower: p2c, PeakEwma of 1000";

/// How many servers the cost curves are of.
pub(crate) const SIZES: [u16; 4] = [10, 100, 1_000, 10_000];
/// Of how many the targets among many are.
pub(crate) const MANY: u16 = 1_000;
/// Of how many the rows beside a bare addition are.
const FEW: u16 = 16;
/// Points a server on a ring.
const REPLICAS: u16 = 160;
/// Odd, so that all keys are different: splitmix64's.
const GOLDEN: u32 = 0x9E37_79B9;

/// A balancer and its servers.
struct Picker<B: Balancer> {
    servers: Servers<B::Stats>,
    balancer: B,
}

impl<B: Balancer> Picker<B> {
    fn new(mut balancer: B, servers: u16) -> Option<Self> {
        let servers = Servers::new(servers, &mut balancer)?;
        Some(Self { servers, balancer })
    }

    /// The slot of the server where one call goes.
    #[inline]
    fn pick(&self, code: u32, now: Instant, random: &mut Rng) -> Option<u32> {
        let selection =
            Selection { tried: &[], same: None, working_too: false, servers: None, request_code: Some(code), now };
        // As a call does that was overtaken.
        loop {
            let search = Search { list: &self.servers, selection: &selection };
            let Offer { candidate, ticket } = self.balancer.offers(search, &mut || random.u32(..)).next()?;
            if self.balancer.commit(ticket, false) {
                return Some(candidate.server.slot().into());
            }
        }
    }

    /// One pick after the other; false if one found no server.
    fn picks(&self, count: u32, code: impl Fn(u32) -> u32) -> bool {
        let mut random = Rng::with_seed(1);
        let mut last = 0;
        for call in 0..count {
            let it = black_box(self);
            let now = NOW + Duration::from_micros(u64::from(last & 1));
            random = Rng::with_seed(random.get_seed() ^ u64::from(last));
            let Some(slot) = it.pick(code(call.wrapping_mul(GOLDEN) ^ last), now, &mut random) else { return false };
            last = slot;
        }
        black_box(last);
        true
    }
}

/// Of a balancer that does not hash: no code.
const fn unhashed(key: u32) -> u32 {
    key
}

fn hashed(key: u32) -> u32 {
    murmur3_32(&key.to_le_bytes())
}

fn row<'a, B: Balancer + 'a>(
    name: &'static str,
    floor: &'static str,
    balancer: B,
    servers: u16,
    code: impl Fn(u32) -> u32 + Copy + Send + 'static,
) -> Option<Contender<'a>> {
    let picker = Picker::new(balancer, servers)?;
    let batch = move |count| timed(|| picker.picks(count, code));
    Some(Contender::batched(name, floor, batch).target(NoAllocation))
}

fn adds(counter: &AtomicU64, count: u32) -> bool {
    let mut last = 0;
    for _ in 0..count {
        last = black_box(counter).fetch_add(last & 1 | 1, Ordering::Relaxed);
    }
    black_box(last);
    true
}

fn p2c() -> Option<P2c> {
    Some(P2c::new(P2cOptions::DEFAULT))
}

fn ring() -> Option<Consistent<Heap>> {
    Some(Consistent::new(Ring::new(RingHash::Ketama, REPLICAS).ok()?))
}

/// A few servers, beside a bare addition.
pub(crate) fn few<'a>(counter: &'a AtomicU64) -> Option<Vec<Contender<'a>>> {
    let named = |text| AnyBalancer::<Heap>::named(text, 1).ok();
    Some(vec![
        Contender::batched(BARE, BARE, move |count| timed(|| adds(counter, count))),
        row("rr", BARE, RoundRobin::new(1), FEW, unhashed)?.target(AtMost(1.5, BARE)),
        row("random", BARE, RandomChoice, FEW, unhashed)?.target(AtMost(2.0, BARE)),
        row("wrr", BARE, WeightedRoundRobin::<Heap>::new(1), FEW, unhashed)?,
        row("wr", BARE, WeightedRandom::<Heap>::new(), FEW, unhashed)?,
        row("p2c", BARE, p2c()?, FEW, unhashed)?.target(AtMost(0.1, TOWER)),
        row("la", BARE, LocalityAware::<Heap>::new(1), FEW, unhashed)?,
        row(RING, BARE, ring()?, FEW, hashed)?,
        row("rr, by its name", BARE, named("rr")?, FEW, unhashed)?,
        row("p2c, by its name", BARE, named("p2c")?, FEW, unhashed)?,
        tower(TOWER, BARE, FEW),
    ])
}

/// The same on two threads that share the servers, beside each alone.
pub(crate) fn shared<'a>() -> Option<Vec<Contender<'a>>> {
    let counter = Arc::new(AtomicU64::new(0));
    let bare = Pair::new(move |_, count| adds(&counter, count));
    Some(vec![
        Contender::batched("one atomic add, 2 threads", BARE, move |count| bare.batch(NOW, count)),
        pair("rr, 2 threads", "rr", RoundRobin::new(1), unhashed)?,
        pair("random, 2 threads", "random", RandomChoice, unhashed)?,
        pair("wrr, 2 threads", "wrr", WeightedRoundRobin::<Heap>::new(1), unhashed)?,
        pair("wr, 2 threads", "wr", WeightedRandom::<Heap>::new(), unhashed)?,
        pair("p2c, 2 threads", "p2c", p2c()?, unhashed)?,
        pair("la, 2 threads", "la", LocalityAware::<Heap>::new(1), unhashed)?,
        pair("c_ketama, 160 points, 2 threads", RING, ring()?, hashed)?,
    ])
}

fn pair<'a, B>(
    name: &'static str,
    alone: &'static str,
    balancer: B,
    code: impl Fn(u32) -> u32 + Copy + Send + 'static,
) -> Option<Contender<'a>>
where
    B: Balancer<Stats: Send + Sync> + Send + Sync + 'static,
{
    let picker = Arc::new(Picker::new(balancer, FEW)?);
    let pair = Pair::new(move |_, count| picker.picks(count, code));
    Some(Contender::batched(name, alone, move |count| pair.batch(NOW, count)))
}

/// A balancer by how many servers there are.
pub(crate) struct Curve<'a> {
    pub(crate) name: &'static str,
    pub(crate) of: Vec<Contender<'a>>,
}

/// What more servers cost.
pub(crate) fn curves<'a>() -> Option<Vec<Curve<'a>>> {
    let one = |name: &'static str, make: &dyn Fn(&'static str, u16) -> Option<Contender<'a>>| {
        let of = SIZES.into_iter().map(|servers| make(sized(name, servers), servers)).collect::<Option<_>>()?;
        Some(Curve { name, of })
    };
    Some(vec![
        one(KETAMA, &|name, servers| Some(pingora(name, KETAMA_OF_THOUSAND, servers)))?,
        one(RING, &|name, servers| {
            let row = row(name, KETAMA_OF_THOUSAND, ring()?, servers, hashed)?;
            Some(if servers == MANY { row.target(AtMost(1.0, KETAMA_OF_THOUSAND)) } else { row })
        })?,
        one("la", &|name, servers| {
            let row = row(name, RING_OF_THOUSAND, LocalityAware::<Heap>::new(1), servers, unhashed)?;
            Some(if servers == MANY { row.target(AtMost(3.0, RING_OF_THOUSAND)) } else { row })
        })?,
        one("rr", &|name, servers| row(name, KETAMA_OF_THOUSAND, RoundRobin::new(1), servers, unhashed))?,
        one("random", &|name, servers| row(name, KETAMA_OF_THOUSAND, RandomChoice, servers, unhashed))?,
        one("wrr", &|name, servers| {
            row(name, KETAMA_OF_THOUSAND, WeightedRoundRobin::<Heap>::new(1), servers, unhashed)
        })?,
        one("wr", &|name, servers| row(name, KETAMA_OF_THOUSAND, WeightedRandom::<Heap>::new(), servers, unhashed))?,
        one("p2c", &|name, servers| {
            let row = row(name, KETAMA_OF_THOUSAND, p2c()?, servers, unhashed)?;
            Some(if servers == MANY { row.target(AtMost(0.1, TOWER_OF_THOUSAND)) } else { row })
        })?,
        one(TOWER, &|name, servers| Some(tower(name, KETAMA_OF_THOUSAND, servers)))?,
    ])
}

/// The name of a balancer among so many servers, for as long as the bench runs.
fn sized(name: &str, servers: u16) -> &'static str {
    Box::leak(format!("{name} of {servers}").into_boxed_str())
}

/// Attempts at the servers of a channel: picked, sent and answered.
pub(crate) fn attempts<'a>() -> Option<Vec<Contender<'a>>> {
    Some(vec![
        attempt("channel: rr", line(RoundRobin::new(1), false)?),
        attempt("channel: random", line(RandomChoice, false)?),
        attempt("channel: p2c", line(p2c()?, false)?).target(AtMost(0.1, TOWER)),
        attempt("channel: la", line(LocalityAware::<Heap>::new(1), false)?),
    ])
}

fn attempt<'a, B: Balancer + 'a>(name: &'static str, line: Line<B>) -> Contender<'a> {
    let mut now = NOW;
    let batch = move |count| {
        timed(|| {
            let mut random = Rng::with_seed(1);
            let mut last = 0;
            for _ in 0..count {
                now = now + Duration::from_micros(10 + (last & 1));
                let Some(slot) = attempted(black_box(&line), now, &mut random) else { return false };
                last = slot;
            }
            true
        })
    };
    Contender::batched(name, BARE, batch).target(NoAllocation)
}

#[inline]
fn attempted<B: Balancer>(line: &Line<B>, now: Instant, random: &mut Rng) -> Option<u64> {
    let selection = Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now };
    let pick = line.look(&selection, &mut || random.u32(..)).ok()?;
    if !line.commit(&pick, now, false) {
        return None;
    }
    let timeout = Timeout::after(Duration::from_millis(500));
    let sent = SentAttempt { server: pick.server, at: now, attempt: AttemptId::FIRST, max_retry: 3, timeout };
    let latency = Micros::from_micros(1_000 + u64::from(pick.server.slot()) * 10);
    line.finished(&sent.finished(now + latency, Feedback::Success { latency }, Code::NONE));
    Some(pick.server.slot().into())
}

/// A service that is always ready and answers at once.
#[derive(Clone, Copy, Debug)]
struct Echo(u64);

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Failed;
    type Future = Ready<Result<u64, Failed>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        black_box(self.0);
        ready(Ok(request))
    }
}

/// tower's, from ready to answered: it has no pick apart from a call.
fn tower<'a>(name: &'static str, floor: &'static str, servers: u16) -> Contender<'a> {
    let service = |place: u16| {
        let rtt = Duration::from_micros(1_000 + u64::from(place % 7) * 100);
        PeakEwma::new(Echo(place.into()), rtt, 10e9, CompleteOnResponse::default())
    };
    let services: Vec<_> = (0..servers).map(service).collect();
    let mut balance = Balance::new(ServiceList::new::<u64>(services));
    let batch = move |count| {
        timed(|| {
            let mut last = 0;
            for _ in 0..count {
                let Some(answer) = by_hand(echoed(black_box(&mut balance), last)) else { return false };
                last = answer + 1;
            }
            last == u64::from(count)
        })
    };
    Contender::batched(name, floor, batch)
}

async fn echoed(service: &mut impl Service<u64, Response = u64>, request: u64) -> Option<u64> {
    poll_fn(|cx| service.poll_ready(cx)).await.ok()?;
    service.call(request).await.ok()
}

fn pingora<'a>(name: &'static str, floor: &'static str, servers: u16) -> Contender<'a> {
    let buckets: Vec<Bucket> = (0..servers).map(|place| Bucket::new(address(place), 1)).collect();
    let ring = Continuum::new(&buckets);
    let batch = move |count| {
        timed(|| {
            let mut last = 0;
            for call in 0_u32..count {
                let key = call.wrapping_mul(GOLDEN) ^ last;
                let Some(node) = black_box(&ring).node(&key.to_le_bytes()) else { return false };
                let SocketAddr::V4(node) = node else { return false };
                last = node.ip().to_bits() & 0xFFFF;
            }
            black_box(last);
            true
        })
    };
    Contender::batched(name, floor, batch).target(NoAllocation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Effort, measure};

    #[test]
    fn every_balancer_picks_and_none_of_ours_allocates() {
        let counter = AtomicU64::new(0);
        let effort = Effort { batch: Duration::from_micros(20), rounds: 3 };
        let rows = few(&counter).unwrap().into_iter().chain(attempts().unwrap()).chain(shared().unwrap());
        for row in measure(rows.collect(), effort).unwrap() {
            assert!(row.allocations == 0.0 || row.name == TOWER, "{}", row.name);
        }
    }

    #[test]
    fn picks_go_to_all_servers() {
        let picker = Picker::new(p2c().unwrap(), 8).unwrap();
        let mut random = Rng::with_seed(3);
        let mut picked = [0; 8];
        for code in 0..2_000 {
            picked[picker.pick(code, NOW, &mut random).unwrap() as usize] += 1;
        }
        // The one that has failed is never the cheaper of two.
        assert!(picked.iter().enumerate().all(|(slot, count)| (*count == 0) == (slot == 1)), "{picked:?}");
        assert!(picker.picks(100, unhashed));
    }
}

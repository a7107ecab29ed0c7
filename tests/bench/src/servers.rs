//! Servers in memory for balancers to choose from, and what they know of them after a while of calls.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use hedge_core::balance::{Balancer, Candidate, Load, Roster, ServerList, Weighing};
use hedge_core::id::{AddressKey, AttemptId, ServerId};
use hedge_core::outcome::{Code, Feedback, Finished, SentAttempt};
use hedge_core::time::{Duration, Instant, Micros, Timeout};

/// When picks begin: what is known was learned in the seconds before.
pub(crate) const NOW: Instant = Instant::from_millis(10_000);
const BEGIN: Instant = Instant::from_millis(7_000);
/// How many calls each server has answered, and how far apart.
const ANSWERED: u64 = 20;
const APART: Micros = Micros::from_millis(140);
/// One in so many servers has failed last.
const FAILED: u16 = 16;

/// The address of the server at a place.
pub(crate) fn address(place: u16) -> SocketAddr {
    let [high, low] = place.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 7, high, low), 8_000))
}

/// As many servers as there are slots, in order, all usable, each with one attempt in flight.
pub(crate) struct Servers<S> {
    slots: Vec<(NonZeroU32, S)>,
}

impl<S> Servers<S> {
    /// So many servers that have served `balancer` for some seconds. `None` if it does not take them.
    pub(crate) fn new<B: Balancer<Stats = S>>(count: u16, balancer: &mut B) -> Option<Self> {
        let slots = (0..count).map(|slot| {
            // No tags but where they have to be weights.
            let weight = if balancer.weighing() == Weighing::Tag { 1 + u32::from(slot) % 5 } else { 1 };
            Some((NonZeroU32::new(weight)?, balancer.stats()))
        });
        let servers = Self { slots: slots.collect::<Option<_>>()? };
        balancer.arrange(&servers).ok()?;
        for slot in 0..count {
            servers.serve(slot, balancer);
        }
        Some(servers)
    }

    fn serve<B: Balancer<Stats = S>>(&self, slot: u16, balancer: &B) {
        let server = ServerId::new(slot, 0);
        let latency = Micros::from_micros(1_000 + u64::from(slot % 7) * 100);
        let sent = |at| SentAttempt {
            server,
            at,
            attempt: AttemptId::FIRST,
            max_retry: 3,
            timeout: Timeout::after(Duration::from_millis(500)),
        };
        let feedback = |at, feedback| Finished { sent: sent(at), now: at + latency, feedback, code: Code::NONE };
        for call in 0..ANSWERED {
            let at = BEGIN + Micros::from_micros(call * APART.as_micros() + u64::from(slot));
            balancer.started(self, server, None, at);
            balancer.finished(self, &feedback(at, Feedback::Success { latency }));
            if call + 1 == ANSWERED && slot % FAILED == 1 {
                balancer.started(self, server, None, at);
                balancer.finished(self, &feedback(at, Feedback::Failure { latency }));
            }
        }
        balancer.started(self, server, None, NOW);
    }
}

impl<S> ServerList for Servers<S> {
    type Stats = S;

    fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Candidate> {
        self.in_slot(u16::try_from(position).ok()?)
    }

    fn slots(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn in_slot(&self, slot: u16) -> Option<Candidate> {
        let candidate = Candidate { server: ServerId::new(slot, 0), address: AddressKey(slot.into()), usable: true };
        (usize::from(slot) < self.slots.len()).then_some(candidate)
    }

    #[inline]
    fn load(&self, server: ServerId) -> Option<Load<'_, S>> {
        let (weight, stats) = self.slots.get(usize::from(server.slot()))?;
        Some(Load { stats, in_flight: 1, weight: *weight })
    }
}

impl<S> Roster for Servers<S> {
    fn write_address(&self, position: usize, out: &mut dyn Write) -> fmt::Result {
        let place = u16::try_from(position).map_err(|_| fmt::Error)?;
        write!(out, "{}", address(place))
    }
}

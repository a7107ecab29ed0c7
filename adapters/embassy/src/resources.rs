//! The memory of a channel: [`Resources`].

use core::cell::Cell;
use core::fmt;

use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use hedge_core::balance::Balancer;
use hedge_core::channel::DefaultPolicy;
use hedge_core::health::{Breaker, NoBreaker};

use crate::shared::Shared;
use crate::slots::Slots;

/// The memory of a channel, lent by the caller: a static as a rule. It stays borrowed for as long as the channel is used.
///
/// | parameter | what it is |
/// |---|---|
/// | `B` | the balancer, as [`RoundRobin`](hedge_core::balance::RoundRobin) |
/// | `P` | what allows backups and retries, as [`RatioLimit`](hedge_core::limit::RatioLimit); [`NoPolicy`](hedge_core::policy::NoPolicy) allows all |
/// | `M` | how the list of servers is kept from changing while it is looked at: `CriticalSectionRawMutex` always works; `NoopRawMutex`, which is free, if everything that uses the channel runs on one executor |
/// | `SERVERS` | how many servers there can be |
/// | `SLOTS` | how many attempts can be made at once |
/// | `BYTES` | the size of an attempt's buffer: the largest response, head and body; and the largest head of a request |
/// | `K` | the breaker that isolates servers that fail (H2) |
/// | `T` | the servers' tags: an integer weight, or a text |
///
/// In memory: on 32 bits `SLOTS` × (`BYTES` + 28), `SERVERS` × 62 and what `B` and `K` keep of each, `P`, and 312. It is all
/// zeros before it is used, so a static of it takes no flash.
pub struct Resources<
    B: Balancer,
    P = DefaultPolicy,
    M: RawMutex = CriticalSectionRawMutex,
    const SERVERS: usize = 8,
    const SLOTS: usize = 4,
    const BYTES: usize = 1024,
    K: Breaker = NoBreaker,
    T = &'static str,
> {
    // The cell is for what it hides: an `Option` alone might put its `None` into any byte of the thing, and then a static
    // that is not all zeros would take as much flash as memory.
    #[expect(clippy::type_complexity, reason = "the memory's parameters are those of its parts")]
    shared: Option<Cell<Shared<B, P, M, SERVERS, K, T>>>,
    slots: Slots<M, SLOTS, BYTES>,
}

impl<B: Balancer, P, M: RawMutex, const SERVERS: usize, const SLOTS: usize, const BYTES: usize, K: Breaker, T>
    Resources<B, P, M, SERVERS, SLOTS, BYTES, K, T>
{
    /// Memory for one channel.
    #[must_use]
    pub const fn new() -> Self {
        Self { shared: None, slots: Slots::new() }
    }

    /// Puts a channel's state in its place, instead of an earlier one's.
    pub(crate) fn fill(
        &mut self,
        shared: Shared<B, P, M, SERVERS, K, T>,
    ) -> (&Shared<B, P, M, SERVERS, K, T>, &Slots<M, SLOTS, BYTES>) {
        (self.shared.insert(Cell::new(shared)).get_mut(), &self.slots)
    }
}

impl<B: Balancer, P, M: RawMutex, const SERVERS: usize, const SLOTS: usize, const BYTES: usize, K: Breaker, T> Default
    for Resources<B, P, M, SERVERS, SLOTS, BYTES, K, T>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Balancer, P, M: RawMutex, const SERVERS: usize, const SLOTS: usize, const BYTES: usize, K: Breaker, T>
    fmt::Debug for Resources<B, P, M, SERVERS, SLOTS, BYTES, K, T>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}

/// Memory that a channel uses: [`Resources`], under one name for all their parameters.
pub trait Memory: sealed::Sealed {
    /// What calls share.
    #[doc(hidden)]
    type Shared;
    /// The buffers.
    #[doc(hidden)]
    type Slots;
}

impl<B: Balancer, P, M: RawMutex, const SERVERS: usize, const SLOTS: usize, const BYTES: usize, K: Breaker, T> Memory
    for Resources<B, P, M, SERVERS, SLOTS, BYTES, K, T>
{
    type Shared = Shared<B, P, M, SERVERS, K, T>;
    type Slots = Slots<M, SLOTS, BYTES>;
}

mod sealed {
    pub trait Sealed {}

    impl<B, P, M, const SERVERS: usize, const SLOTS: usize, const BYTES: usize, K, T> Sealed
        for super::Resources<B, P, M, SERVERS, SLOTS, BYTES, K, T>
    where
        B: super::Balancer,
        M: super::RawMutex,
        K: super::Breaker,
    {
    }
}

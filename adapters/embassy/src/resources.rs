//! The memory of a channel: [`Resources`].

use core::cell::Cell;
use core::fmt;

use crate::parts::Parts;
use crate::shared::Shared;
use crate::slots::{Slot, Slots};

/// The memory of a channel, which the caller lends: a static as a rule. It stays borrowed for as long as the channel is
/// used.
///
/// | parameter | what it is |
/// |---|---|
/// | `P` | the types that the channel is made of: its balancer, policy, mutex, breaker and tags; see [`Parts`] |
/// | `SERVERS` | how many servers the list can have |
/// | `SLOTS` | how many attempts can be in flight at once |
/// | `BYTES` | the size of an attempt's buffer. It must hold the largest response, head and body, and the largest head of a request |
///
/// In memory: on 32 bits `SLOTS` × (`BYTES` + 28), `SERVERS` × 62 and what the balancer and the breaker keep of each server,
/// the policy, and 312. All bytes are zero before it is used, so a static of it takes no flash.
pub struct Resources<P: Parts, const SERVERS: usize = 8, const SLOTS: usize = 4, const BYTES: usize = 1024> {
    // The cell hides the unused bit patterns of its contents. Without it, the `Option` could represent `None` by any of
    // them, and a static that is not all zeros takes as much flash as memory.
    shared: Option<Cell<Shared<P, SERVERS>>>,
    slots: Slots<P::Mutex, SLOTS, BYTES>,
}

impl<P: Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> Resources<P, SERVERS, SLOTS, BYTES> {
    /// Memory for one channel.
    #[must_use]
    pub const fn new() -> Self {
        Self { shared: None, slots: Slots::new() }
    }

    /// Puts a channel's state in its place. It replaces the state of an earlier channel.
    pub(crate) fn fill(&mut self, shared: Shared<P, SERVERS>) -> (&Shared<P, SERVERS>, &Slots<P::Mutex, SLOTS, BYTES>) {
        (self.shared.insert(Cell::new(shared)).get_mut(), &self.slots)
    }
}

impl<P: Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> Default
    for Resources<P, SERVERS, SLOTS, BYTES>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> fmt::Debug
    for Resources<P, SERVERS, SLOTS, BYTES>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}

/// The memory of a channel, as the parameter of other types. Only [`Resources`] implements it.
pub trait Memory: sealed::Sealed {
    /// What calls share.
    #[doc(hidden)]
    type Shared;
    /// The buffers.
    #[doc(hidden)]
    type Slots;
    /// A buffer that is lent to an attempt.
    #[doc(hidden)]
    type Slot<'r>: AsRef<[u8]>;
}

impl<P: Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> Memory
    for Resources<P, SERVERS, SLOTS, BYTES>
{
    type Shared = Shared<P, SERVERS>;
    type Slots = Slots<P::Mutex, SLOTS, BYTES>;
    type Slot<'r> = Slot<'r, P::Mutex, SLOTS, BYTES>;
}

mod sealed {
    pub trait Sealed {}

    impl<P: super::Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> Sealed
        for super::Resources<P, SERVERS, SLOTS, BYTES>
    {
    }
}

//! The memory of a channel: [`Resources`].

use core::cell::Cell;
use core::fmt;

use crate::parts::Parts;
use crate::shared::Shared;
use crate::slots::{Slot, Slots};

/// The memory of a channel. The caller lends it, usually from a static. It stays borrowed as long as the channel is
/// used.
///
/// | parameter | what it is |
/// |---|---|
/// | `P` | the types that the channel is made of: its balancer, policy, mutex, breaker and tags; see [`Parts`] |
/// | `SERVERS` | how many servers the list can have |
/// | `SLOTS` | how many attempts can be in flight at once |
/// | `BYTES` | the size of an attempt's buffer. It must hold the largest response, head and body, and the largest head of a request |
///
/// Size on a 32-bit target, in bytes: `SLOTS` × (`BYTES` + 28), `SERVERS` × 62, the data of the balancer and the
/// breaker for each server, the policy, and 312. All bytes are zero before the first use, so a static of this type
/// takes no flash.
pub struct Resources<P: Parts, const SERVERS: usize = 8, const SLOTS: usize = 4, const BYTES: usize = 1024> {
    // The cell hides the unused bit patterns of its contents. Without it, the `Option` could represent `None` by any of
    // them, and a static that is not all zeros takes as much flash as memory.
    shared: Option<Cell<Shared<P, SERVERS>>>,
    slots: Slots<P::Mutex, SLOTS, BYTES>,
}

impl<P: Parts, const SERVERS: usize, const SLOTS: usize, const BYTES: usize> Resources<P, SERVERS, SLOTS, BYTES> {
    /// Makes the memory of one channel.
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

/// The memory of a channel, as a type parameter of other types. Only [`Resources`] implements this trait.
pub trait Memory: sealed::Sealed {
    /// The state that calls share.
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

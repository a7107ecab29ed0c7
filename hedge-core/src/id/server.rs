//! The ids of servers: [`ServerId`].

use core::fmt;

/// The id of a server in a cluster: its slot, and a generation that distinguishes the servers of one slot
/// ([L20](crate::rules#L20)). The id of a removed server is given to another server only under two conditions: no
/// attempt at the removed server is in flight, and 65,536 servers have used the slot since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Parts", into = "Parts"))]
pub struct ServerId(u32);

impl ServerId {
    /// Makes the id of the `generation`-th server in `slot`.
    #[must_use]
    pub const fn new(slot: u16, generation: u16) -> Self {
        // The id is packed into one word, because it is passed on more often than its parts are read.
        Self((slot as u32) << 16 | generation as u32)
    }

    /// Returns the slot, counted from 0.
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Returns the generation of the slot. The generation grows by one each time a server leaves the slot, and wraps to
    /// 0 after 65,535.
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ServerId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}.{}", self.slot(), self.generation());
    }
}

/// A [`ServerId`] in the form that serde writes.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "ServerId")]
struct Parts {
    slot: u16,
    generation: u16,
}

#[cfg(feature = "serde")]
impl From<Parts> for ServerId {
    fn from(Parts { slot, generation }: Parts) -> Self {
        Self::new(slot, generation)
    }
}

#[cfg(feature = "serde")]
impl From<ServerId> for Parts {
    fn from(id: ServerId) -> Self {
        Self { slot: id.slot(), generation: id.generation() }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

//! Which server: [`ServerId`].

use core::fmt;

/// A server of a cluster: a slot and which of the servers that have lived in it ([L20](crate::rules#L20)). A removed
/// server's id never means another server as long as an attempt at it is out, nor before 65,536 servers have passed
/// through its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Parts", into = "Parts"))]
pub struct ServerId(u32);

impl ServerId {
    /// The id of the `generation`-th server in `slot`.
    #[must_use]
    pub const fn new(slot: u16, generation: u16) -> Self {
        // Packed in one word: an id is passed around more often than it is taken apart.
        Self((slot as u32) << 16 | generation as u32)
    }

    /// The slot, from 0.
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The generation: it counts the servers that have had the slot.
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

/// A [`ServerId`] as serde writes it.
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

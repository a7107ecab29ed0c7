//! A number for each address: [`AddressKey`].

use core::hash::{Hash, Hasher};

/// A server's address as a number, for comparison. Servers that differ only in their tag have equal keys. In the rules,
/// "another server" means a server with another address, and so with another key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddressKey(pub u32);

impl AddressKey {
    /// Returns the preferred key of an address: its hash. An address always has the same hash. If another address in
    /// the list already has this key, the list uses the next free key.
    #[must_use]
    pub fn of(address: &impl Hash) -> Self {
        let mut hasher = Fnv(0x811C_9DC5);
        address.hash(&mut hasher);
        Self(hasher.0)
    }

    /// Returns the next key. A list tries the next key if this key is already used.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// FNV-1a of 32 bits (Fowler, Noll, Vo). This hash takes only a few bytes of code, and distinguishes addresses well
/// enough.
struct Fnv(u32);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

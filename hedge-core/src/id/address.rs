//! Which address: [`AddressKey`].

use core::hash::{Hash, Hasher};

/// A server's address as a number. Servers that differ only in their tag have equal keys. "Another server" means
/// another address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddressKey(pub u32);

impl AddressKey {
    /// The key that an address should have, a hash: the same whenever the address comes back. If another address of the
    /// list has that key, the list takes the next free one.
    #[must_use]
    pub fn of(address: &impl Hash) -> Self {
        let mut hasher = Fnv(0x811C_9DC5);
        address.hash(&mut hasher);
        Self(hasher.0)
    }

    /// The next key.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// FNV-1a of 32 bits (Fowler, Noll, Vo): a few bytes of code, good enough for telling addresses apart.
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

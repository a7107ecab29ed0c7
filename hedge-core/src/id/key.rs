//! The key that all attempts of a call share: [`IdempotencyKey`].

use core::fmt;

/// The idempotency key of one call: 128 bits that no other call has. Each attempt of the call carries the same key, so
/// a server that gets two attempts can tell that they are one call ([W3](crate::rules#W3), [Y1](crate::rules#Y1)).
///
/// With tied requests, a stranger that knows a key could ask a server to drop a copy. So a key is a secret between
/// this client and its servers: it should be drawn from a source that cannot be predicted, and `Debug` does not show
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 16]);

impl IdempotencyKey {
    /// Makes a key of these bytes, in the order in which they go on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key, in the order in which they go on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Does not show the key, which is a secret.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(hidden)")
    }
}

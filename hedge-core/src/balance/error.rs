//! Why a list cannot be arranged: [`ArrangeError`].

use core::fmt;

use super::ring::RingError;

/// A list that a balancer has no room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ArrangeError {
    /// There are more servers, or slots, than it has room for.
    Room {
        /// How many it has room for.
        servers: usize,
    },
    /// The servers' points do not fit the ring, or one has no address that can be written.
    Ring(RingError),
}

impl From<RingError> for ArrangeError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl fmt::Display for ArrangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room { servers } => write!(f, "balancer: has room for {servers} servers"),
            Self::Ring(error) => write!(f, "balancer: {error}"),
        }
    }
}

impl core::error::Error for ArrangeError {}

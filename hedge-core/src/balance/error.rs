//! The error for a list that a balancer cannot use: [`ArrangeError`].

use core::fmt;

use super::ring::RingError;

/// The reason why a balancer cannot use a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ArrangeError {
    /// The list has too many servers or too many slots for the balancer.
    Room {
        /// How many servers or slots fit into the balancer.
        servers: usize,
    },
    /// The servers' points do not fit into the ring, or a server's address cannot be written.
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

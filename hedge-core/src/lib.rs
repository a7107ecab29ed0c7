#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod atomic;
pub mod balance;
pub mod call;
pub mod channel;
pub mod cluster;
pub mod config;
#[cfg(feature = "async")]
pub mod drive;
#[cfg(feature = "serde")]
mod field;
pub mod health;
pub mod id;
pub mod latency;
// Both say the same. The compiler shows this line to a program that lacks the item, and so it names the feature.
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub mod limit;
pub mod outcome;
pub mod policy;
pub mod random;
pub mod time;
#[cfg(has_atomic_64)]
pub mod window;

// An empty module that carries the text. It is not `cfg(doc)`, since docs of other crates show items of this one, and their
// links lead here.
#[doc = include_str!("../RULES.md")]
pub mod rules {}

/// The manual: how hedge is built, how to drive a call by hand, and how to choose a delay and a limit. [`rules`] has every
/// rule of a call.
pub mod manual {
    #[doc = include_str!("../manual/house.md")]
    pub mod house {}

    #[doc = include_str!("../manual/by_hand.md")]
    pub mod by_hand {}

    #[doc = include_str!("../manual/delay.md")]
    pub mod delay {}

    #[doc = include_str!("../BALANCERS.md")]
    pub mod balancers {}
}

#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod atomic;
pub mod balance;
pub mod bounded;
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
// The second condition changes nothing, since the feature also sets `has_atomic_64`. Its purpose is the compiler's
// error message: if a program uses this module on a target without 64-bit atomics, the compiler shows this line, and
// the line names the feature.
#[cfg(any(has_atomic_64, feature = "portable-atomic"))]
pub mod limit;
pub mod outcome;
pub mod policy;
pub mod random;
pub mod time;
#[cfg(has_atomic_64)]
pub mod window;

// This empty module holds the text of the rules. It is not `cfg(doc)`: the docs of other crates show items of this
// crate, and the docs of these items have links to this module.
#[doc = include_str!("../RULES.md")]
pub mod rules {}

/// The manual: how hedge is structured, how to drive a call by hand, how to choose a delay and a limit, and how to
/// choose a balancer. The module [`rules`] has all rules of a call.
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

//! What the programs of this package share: the servers that they call, and the name server that they ask.

pub mod name_server;
pub mod replicas;

/// The README's own code, compiled and run as far as it can be.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

//! A small world in virtual time: an executor that moves embassy-time's mock clock, two network stacks that are joined by a
//! wire, and servers on one of them. Everything that happens in it depends on seeds only.
//!
//! A process has one mock clock, so worlds run one after another: see [`World::new`].

mod executor;
mod loopback;
mod server;
mod wire;

pub use executor::World;
pub use loopback::{Connection, Loopback, Piece, Script};
pub use server::{Behaviour, Server, Stall};
pub use wire::{CLIENT, Network, SERVERS, Wire};

/// The milliseconds since a world began.
#[must_use]
pub fn now_ms() -> u64 {
    embassy_time::Instant::now().as_millis()
}

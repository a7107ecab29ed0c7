//! A small world in virtual time: an executor that moves embassy-time's mock clock, two network stacks with a wire between
//! them, and servers on the far one. Everything that happens in it follows from seeds.
//!
//! There is one mock clock a process, so worlds take turns: see [`World::new`].

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

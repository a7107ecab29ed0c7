//! The core's operations, each once and whole: `ci/instructions` counts their instructions, `ci/bench` their time.
//!
//! Every operation answers whether it went as it should, so that a number is never that of a call that failed. What goes
//! in and comes out passes a `black_box`, and nothing else does: the compiler may do to these calls what it does to a
//! user's.

pub mod by_hand;
pub mod driven;
pub mod limits;
mod operations;

pub use operations::{OPERATIONS, Operation, World};

use hedge_core::balance::Balancer;
use hedge_core::channel::Channel;
use hedge_core::policy::{BackupDelay, ChannelOptions, NoPolicy};
use hedge_core::time::Duration;

/// How many servers there are to choose from.
pub const SERVERS: u32 = 16;

/// When a channel with backups sends one.
pub const BACKUP_DELAY: Duration = Duration::from_millis(2);

/// A channel to [`SERVERS`] servers.
pub type Line<B> = Channel<u32, B, NoPolicy, &'static str, { SERVERS as usize }>;

/// A channel with brpc's options, and a backup after [`BACKUP_DELAY`] if it is to be `hedged`. `None` if the core refuses it.
#[must_use]
pub fn line<B: Balancer>(balancer: B, hedged: bool) -> Option<Line<B>> {
    let backup = if hedged { BackupDelay::after(BACKUP_DELAY) } else { BackupDelay::OFF };
    let mut line = Channel::with_policy(ChannelOptions { backup, ..ChannelOptions::brpc() }, balancer, NoPolicy, 1);
    for address in 0..SERVERS {
        line.insert(address, "").ok()?;
    }
    Some(line)
}

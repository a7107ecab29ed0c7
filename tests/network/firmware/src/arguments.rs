//! What the host tells the firmware: its servers and where all chance comes from, as `name=value`.

use core::net::{Ipv4Addr, SocketAddrV4};

use crate::board::semihost;

/// The most servers there may be.
pub const MOST: usize = 8;
/// The host's loopback, as QEMU's network shows it.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What the host has.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Where all chance comes from.
    pub seed: u64,
    good: heapless::Vec<SocketAddrV4, MOST>,
    /// A server that is not there.
    pub closed: Option<SocketAddrV4>,
    /// A server that never answers.
    pub silent: Option<SocketAddrV4>,
    /// A server that answers with something that is no HTTP.
    pub garbage: Option<SocketAddrV4>,
}

impl Arguments {
    /// Asks the host. What is missing or cannot be read is left out.
    // One function in each program, or the compiler's mood would be part of their difference.
    #[inline(never)]
    pub fn read() -> Self {
        let mut arguments = Self::default();
        let read = semihost::arguments(|argument| match argument.split_once('=') {
            Some(("seed", value)) => arguments.seed = value.parse().unwrap_or_default(),
            Some(("servers", value)) => arguments.good.extend(value.split('+').filter_map(server).take(MOST)),
            Some(("closed", value)) => arguments.closed = server(value),
            Some(("silent", value)) => arguments.silent = server(value),
            Some(("garbage", value)) => arguments.garbage = server(value),
            _ => {}
        });
        if !read {
            defmt::error!("no arguments");
        }
        arguments
    }

    /// The servers that answer.
    pub fn servers(&self) -> &[SocketAddrV4] {
        &self.good
    }
}

fn server(port: &str) -> Option<SocketAddrV4> {
    Some(SocketAddrV4::new(HOST, port.parse().ok()?))
}

//! The arguments that the host gives the firmware, as `name=value`: a seed and the ports of its servers.

use core::net::{Ipv4Addr, SocketAddrV4};

use crate::board::semihost;

/// The largest number of servers.
pub const MOST: usize = 8;
/// The address of the host's loopback in QEMU's network.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The seed and the servers of the host.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The seed of all random choices.
    pub seed: u64,
    good: heapless::Vec<SocketAddrV4, MOST>,
    /// A server that refuses connections.
    pub closed: Option<SocketAddrV4>,
    /// A server that never answers.
    pub silent: Option<SocketAddrV4>,
    /// A server that answers with something that is not HTTP.
    pub garbage: Option<SocketAddrV4>,
}

impl Arguments {
    /// Reads the arguments. Those that are missing or invalid are left out.
    // It is not inlined in any program. Otherwise the programs could differ in that, and their sizes too.
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

//! What probes tell of servers: [`ProbeAnswer`].

use crate::time::Duration;

/// What a server answers a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeAnswer {
    /// Its requests in flight (RIF), of all clients. More than 16777215 are as many.
    pub in_flight: u32,
    /// The latency it expects of one more; zero if it knows none, which makes it worth a try. More than 268 s are as much.
    pub latency: Duration,
}

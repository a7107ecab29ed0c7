//! The answer of a server to a probe: [`ProbeAnswer`].

use crate::time::Duration;

/// A server's answer to a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeAnswer {
    /// The number of requests in flight (RIF) at the server, from all clients, capped at 16777215.
    pub in_flight: u32,
    /// The latency that the server expects for one more request, capped at 268 s. It is zero if the server knows no
    /// latency. Clients prefer low latencies, so they then try the server.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::text::span"))]
    pub latency: Duration,
}

//! What probes tell of servers: [`ProbeAnswer`].

use crate::time::Duration;

/// What a server answers a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProbeAnswer {
    /// Its requests in flight (RIF), of all clients; capped at 16777215.
    pub in_flight: u32,
    /// The latency that it expects for one more request; capped at 268 s. Zero if it knows none, which makes it worth a
    /// try.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::text::span"))]
    pub latency: Duration,
}

//! The memory of channels: for each a symbol of the same size.

#![expect(unsafe_code, reason = "there is no other way to export a symbol")]

use core::net::SocketAddrV4;

use hedge_core::balance::RoundRobin;
use hedge_core::channel::{Channel, Record};
use hedge_core::cluster::Cluster;
use hedge_core::health::{CircuitBreaker, ConsecutiveFailures, NoBreaker};
use hedge_core::policy::NoPolicy;

/// Eight servers, with what a breaker keeps of each.
type Servers<K> = Cluster<SocketAddrV4, &'static str, 8, Record<(), K>>;
/// A whole channel to them with `rr`: its options and its breaker too.
type Fleet<K> = Channel<SocketAddrV4, RoundRobin, NoPolicy, &'static str, 8, K>;

macro_rules! sizes {
    ($($name:ident $of:ty;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: [u8; size_of::<$of>()] = [0; size_of::<$of>()];
        )*
    };
}

sizes! {
    HEDGE_SIZE_CLUSTER Servers<NoBreaker>;
    HEDGE_SIZE_CLUSTER_FAILURES Servers<ConsecutiveFailures>;
    HEDGE_SIZE_CLUSTER_CIRCUIT Servers<CircuitBreaker>;
    HEDGE_SIZE_CHANNEL Fleet<NoBreaker>;
    HEDGE_SIZE_CHANNEL_FAILURES Fleet<ConsecutiveFailures>;
    HEDGE_SIZE_CHANNEL_CIRCUIT Fleet<CircuitBreaker>;
}

// The docs promise this for 32 bits.
#[cfg(target_pointer_width = "32")]
const _: () = assert!(
    size_of::<Fleet<ConsecutiveFailures>>() <= 1_024 && size_of::<Fleet<CircuitBreaker>>() <= 1_024,
    "a cluster of 8 with rr and breakers does not fit a kilobyte"
);

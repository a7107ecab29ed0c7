//! The types that a channel is made of: [`Parts`].

use core::convert::Infallible;
use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;

use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use hedge_core::balance::{self, RoundRobin};
use hedge_core::channel::DefaultPolicy;
use hedge_core::health::{self, NoBreaker};
use hedge_core::policy::BackupPolicy;

/// The types that a channel is made of: the first parameter of [`Resources`](crate::Resources).
///
/// [`Choice`] implements this trait for any types, with a default for each. A program that chooses several types may
/// prefer to implement the trait for a type of its own, where each choice has a name:
///
/// ```
/// use embassy_sync::blocking_mutex::raw::NoopRawMutex;
/// use hedge_core::balance::RoundRobin;
/// use hedge_core::health::ConsecutiveFailures;
/// use hedge_core::limit::RatioLimit;
/// use hedge_embassy::{Parts, Resources};
///
/// struct Board;
///
/// impl Parts for Board {
///     type Balancer = RoundRobin;
///     type Policy = RatioLimit;
///     type Mutex = NoopRawMutex;
///     type Breaker = ConsecutiveFailures;
///     type Tag = ();
/// }
///
/// // At most 4 servers, 2 attempts at once, and 512 bytes for a response.
/// type Memory = Resources<Board, 4, 2, 512>;
/// static MEMORY: static_cell::ConstStaticCell<Memory> = static_cell::ConstStaticCell::new(Memory::new());
/// ```
pub trait Parts {
    /// The balancer, which chooses a server for each attempt: [`RoundRobin`], for example.
    type Balancer: balance::Balancer;
    /// The policy, which allows or denies backups and retries: [`RatioLimit`](hedge_core::limit::RatioLimit), for
    /// example. [`NoPolicy`](hedge_core::policy::NoPolicy) allows all of them.
    type Policy: BackupPolicy;
    /// The mutex that guards the list of servers and the queue for buffers. `CriticalSectionRawMutex` always works.
    /// `NoopRawMutex` costs nothing, and is right if everything that uses the channel runs on one executor.
    type Mutex: RawMutex + 'static;
    /// The breaker, which isolates servers that fail ([H2](hedge_core::rules#H2)).
    type Breaker: health::Breaker;
    /// The tags of servers: an integer that is a weight, a text, or `()`.
    type Tag: balance::Tag + Ord + Hash;
}

/// [`Parts`] that are chosen by type parameters: balancer, policy, mutex, breaker, tag. A parameter that is not named
/// has its default.
///
/// This type only names its parameters. It has no values.
///
/// ```
/// use hedge_core::balance::RoundRobin;
/// use hedge_core::limit::RatioLimit;
/// use hedge_embassy::{Choice, Resources};
///
/// // Round robin, a ratio limit, and the defaults for the rest.
/// type Memory = Resources<Choice<RoundRobin, RatioLimit>, 4, 2, 512>;
/// ```
pub struct Choice<B = RoundRobin, P = DefaultPolicy, M = CriticalSectionRawMutex, K = NoBreaker, T = &'static str>(
    PhantomData<(B, P, M, K, T)>,
    Infallible,
);

impl<B, P, M, K, T> Parts for Choice<B, P, M, K, T>
where
    B: balance::Balancer,
    P: BackupPolicy,
    M: RawMutex + 'static,
    K: health::Breaker,
    T: balance::Tag + Ord + Hash,
{
    type Balancer = B;
    type Policy = P;
    type Mutex = M;
    type Breaker = K;
    type Tag = T;
}

impl<B, P, M, K, T> fmt::Debug for Choice<B, P, M, K, T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {}
    }
}

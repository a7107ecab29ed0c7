//! What is looked for, and what is found: [`Selection`], [`Pick`] and [`NoServer`].

use crate::id::{AddressKey, ServerId};
use crate::outcome::Attempt;
use crate::time::Instant;

/// What a call searches for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The call's attempts so far, in the order of their starts.
    pub tried: &'a [Attempt],
    /// Only this server, even if it is isolated.
    pub same: Option<ServerId>,
    /// Whether an address where an attempt of this call is still in flight may be used, if no other can.
    pub working_too: bool,
    /// The servers to choose from, in this order, instead of the balancer ([S8](crate::rules#S8)).
    pub servers: Option<&'a [ServerId]>,
    /// The request's key for balancers that hash.
    pub request_code: Option<u32>,
    /// The present instant.
    pub now: Instant,
}

impl Selection<'_> {
    /// Whether the balancer chooses the server of a call's first attempt.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.tried.is_empty() && self.by_balancer()
    }

    /// Whether the balancer is to choose, and not the call itself.
    #[must_use]
    pub const fn by_balancer(&self) -> bool {
        self.same.is_none() && self.servers.is_none()
    }
}

/// A server that a search has found and that is not committed to yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pick<T> {
    /// The server.
    pub server: ServerId,
    /// Its address.
    pub address: AddressKey,
    /// What the balancer needs to commit it; `None` if the balancer did not choose it.
    pub ticket: Option<T>,
}

/// Why no server was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoServer {
    /// The list is empty.
    Empty,
    /// There are servers, but none is usable.
    AllDown,
    /// Every usable server is at work on this call already.
    AllBusy,
    /// The server asked for is no longer in the list.
    Gone,
    /// Every usable server has as many attempts in flight as its host allows ([L22](crate::rules#L22)).
    AllFull,
    /// As [`AllFull`](Self::AllFull), and the host has put the call into its queue. The call's first attempt is looked for
    /// again when the host says so ([`Host::poll_room`](crate::call::Host::poll_room)). Only for first attempts.
    Queued,
}

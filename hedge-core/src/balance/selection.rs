//! What is looked for, and what is found: [`Selection`], [`Pick`] and [`NoServer`].

use crate::id::{AddressKey, ServerId};
use crate::outcome::Attempt;
use crate::time::Instant;

/// What a call looks for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The call's attempts so far, in the order of their starts.
    pub tried: &'a [Attempt],
    /// This very server and no other, even if it is isolated.
    pub same: Option<ServerId>,
    /// An address that is still working on the call may be used too, after all others.
    pub working_too: bool,
    /// The servers to choose from, in this order, instead of the balancer (S8).
    pub servers: Option<&'a [ServerId]>,
    /// The request's key for balancers that hash.
    pub request_code: Option<u32>,
    /// When.
    pub now: Instant,
}

impl Selection<'_> {
    /// Whether it is for a call's first attempt, at a server that the balancer chooses.
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

/// A server that was looked at and not yet committed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pick<T> {
    /// The server.
    pub server: ServerId,
    /// Its address.
    pub address: AddressKey,
    /// What the balancer needs to commit it; `None` where it was not the balancer's choice.
    pub ticket: Option<T>,
}

/// Why no server was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoServer {
    /// The list is empty.
    Empty,
    /// There are servers, and none is usable.
    AllDown,
    /// Every usable server is at work on this call already.
    AllBusy,
    /// The server asked for is no longer in the list.
    Gone,
}

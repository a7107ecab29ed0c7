//! What a search for a server requires, and what it returns: [`Selection`], [`Pick`] and [`NoServer`].

use crate::id::{AddressKey, ServerId};
use crate::outcome::Attempt;
use crate::time::Instant;

/// What a call requires of a server, and what the balancer needs to know about the call.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The call's attempts so far, in the order of their starts.
    pub tried: &'a [Attempt],
    /// If set, only this server may be chosen, even if it is isolated.
    pub same: Option<ServerId>,
    /// Whether an address at which an attempt of this call is in flight may be chosen if there is no other address.
    pub working_too: bool,
    /// If set, the call chooses among these servers, in this order, and the balancer does not choose
    /// ([S8](crate::rules#S8)).
    pub servers: Option<&'a [ServerId]>,
    /// The call's request code. Some balancers hash this code ([S5](crate::rules#S5)).
    pub request_code: Option<u32>,
    /// The present instant.
    pub now: Instant,
}

impl Selection<'_> {
    /// Returns whether this is a call's first attempt and the balancer chooses its server.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.tried.is_empty() && self.by_balancer()
    }

    /// Returns whether the balancer chooses the server. It does not if the call names its servers or must return to one
    /// server.
    #[must_use]
    pub const fn by_balancer(&self) -> bool {
        self.same.is_none() && self.servers.is_none()
    }
}

/// A server that a search has found. The call has not committed to the server yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pick<T> {
    /// The server that was found.
    pub server: ServerId,
    /// The server's address.
    pub address: AddressKey,
    /// The data that the balancer gets back when the call commits to this server. `None` if the balancer did not choose
    /// the server.
    pub ticket: Option<T>,
}

/// The reason why no server was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoServer {
    /// The list contains no servers.
    Empty,
    /// The list contains servers, but none of them is usable.
    AllDown,
    /// An attempt of this call is in flight at every usable server.
    AllBusy,
    /// Only one server may be chosen, and this server is no longer in the list.
    Gone,
    /// Every usable server is full: as many attempts are in flight at the server as the host allows
    /// ([L22](crate::rules#L22)).
    AllFull,
    /// Every usable server is full, and the host has put the call into its queue. The call searches again when
    /// [`Host::poll_room`](crate::call::Host::poll_room) is ready. Only first attempts are queued.
    Queued,
}

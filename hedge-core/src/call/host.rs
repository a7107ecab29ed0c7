//! What a call asks of the channel that it belongs to: [`Host`], and the words of that conversation.

use core::fmt;
use core::hash::{Hash, Hasher};

use super::{Attempt, AttemptId};
use crate::balance::Seeds;
use crate::policy::{BackupDelay, ChannelOptions, Code, Denial, Ended, Idempotency, Timeout};
use crate::time::{Duration, Instant};

/// A server of a cluster: a slot and which of the servers that have lived in it (L20). A removed server's id never means
/// another server, until 65,536 servers have passed through its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Parts", into = "Parts"))]
pub struct ServerId(u32);

impl ServerId {
    /// The id of the `generation`-th server in `slot`.
    #[must_use]
    pub const fn new(slot: u16, generation: u16) -> Self {
        // Packed in one word: an id is passed around more often than it is taken apart.
        Self((slot as u32) << 16 | generation as u32)
    }

    /// The slot, from 0.
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The generation: it counts the servers that have had the slot.
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ServerId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}.{}", self.slot(), self.generation());
    }
}

/// A [`ServerId`] as serde writes it.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "ServerId")]
struct Parts {
    slot: u16,
    generation: u16,
}

#[cfg(feature = "serde")]
impl From<Parts> for ServerId {
    fn from(Parts { slot, generation }: Parts) -> Self {
        Self::new(slot, generation)
    }
}

#[cfg(feature = "serde")]
impl From<ServerId> for Parts {
    fn from(id: ServerId) -> Self {
        Self { slot: id.slot(), generation: id.generation() }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// A server's address as a number. Servers that differ only in their tag have equal keys. "Another server" means
/// another address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddressKey(pub u32);

impl AddressKey {
    /// The key that an address should have, a hash: the same whenever the address comes back. If another address of the
    /// list has that key, the list takes the next free one.
    #[must_use]
    pub fn of(address: &impl Hash) -> Self {
        let mut hasher = Fnv(0x811C_9DC5);
        address.hash(&mut hasher);
        Self(hasher.0)
    }

    /// The next key.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// FNV-1a of 32 bits (Fowler, Noll, Vo): a few bytes of code, good enough for telling addresses apart.
struct Fnv(u32);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

/// What a call searches for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The call's attempts so far, in the order of their starts.
    pub tried: &'a [Attempt],
    /// Only this server, even if it is isolated.
    pub same: Option<ServerId>,
    /// Whether an address that is still working on the call may be used, after all others.
    pub working_too: bool,
    /// The servers to choose from, in this order, instead of the balancer (S8).
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
}

/// How an attempt went, for the balancer (S7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Feedback {
    /// The server answered: `Accept`, or a `Fatal`, which is not the server's fault.
    Success {
        /// From the attempt's start to its end.
        latency: Duration,
    },
    /// The verdict was `Retry` or `Wait`, or the call's deadline passed and the attempt had had enough time (L13).
    Failure {
        /// From the attempt's start to its end.
        latency: Duration,
    },
    /// Neither a success nor a failure (L13): its age is only a lower bound of a latency.
    Abandoned {
        /// From the attempt's start to the moment the call stopped waiting for it.
        age: Duration,
    },
    /// It failed at this client or by its caller's fault: it says nothing of the server (S7).
    Local {
        /// From the attempt's start to its end.
        age: Duration,
    },
}

impl Feedback {
    /// The time from the attempt's start to its end, however it ended.
    #[must_use]
    pub const fn took(self) -> Duration {
        match self {
            Self::Success { latency: took }
            | Self::Failure { latency: took }
            | Self::Abandoned { age: took }
            | Self::Local { age: took } => took,
        }
    }
}

/// An attempt at a server, as its host and balancer see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sent {
    /// The server.
    pub server: ServerId,
    /// When it was sent, as [`Host::commit`] was told.
    pub at: Instant,
    /// Its number in its call, which is the number of attempts before it.
    pub attempt: AttemptId,
    /// How many attempts may follow the call's first.
    pub max_retry: u8,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl Sent {
    /// The same attempt, which ended at `now`.
    #[must_use]
    pub const fn finished(self, now: Instant, feedback: Feedback, code: Code) -> Finished {
        Finished { sent: self, now, feedback, code }
    }
}

/// An attempt that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Finished {
    /// The attempt.
    pub sent: Sent,
    /// When it ended.
    pub now: Instant,
    /// How it went.
    pub feedback: Feedback,
    /// Why it failed; [`Code::NONE`] if it did not.
    pub code: Code,
}

/// What a [`Call`](super::Call) asks its channel: choose a server, allow a send, record the outcome.
///
/// Shared by reference: every method takes `&self`. [`Channel`](crate::channel::Channel) is one; adapters bring others.
pub trait Host {
    /// The balancer's note about a server that it chose; the balancer gets it back at the commit.
    type Ticket: Copy;

    /// The options that a call inherits.
    fn options(&self) -> &ChannelOptions;

    /// Whether a request may be sent twice if its call does not say (L15). A host of a single call knows its request
    /// and may answer by that.
    fn idempotency(&self) -> Idempotency {
        self.options().idempotency
    }

    /// Where a call's random numbers come from.
    fn seeds(&self) -> &Seeds;

    /// How many different addresses the list holds, usable or not (L4).
    fn addresses(&self) -> usize;

    /// Searches for a server without committing to it. `random` draws from the call's own generator.
    ///
    /// # Errors
    /// Why there is none.
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Self::Ticket>, NoServer>;

    /// Whether calls need a request code (S5).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Commits to a pick: the balancer moves on, and the server counts one more attempt in flight, sent `now`. Returns
    /// false and changes nothing if `insist` is false and another call has taken the balancer's turn, or the server's
    /// probe, since the look.
    ///
    /// If the server has gone since the look, nothing is committed, and the answer is true. The attempt then fails,
    /// since the driver finds no address for it.
    fn commit(&self, pick: &Pick<Self::Ticket>, now: Instant, insist: bool) -> bool;

    /// An attempt is over: the server counts one attempt less in flight, and its balancer and its breaker learn how it
    /// went. Feedback for a server that is gone is dropped (L20).
    fn finished(&self, attempt: &Finished);

    /// The winner of a streaming call has its head (T2). Balancer and breaker learn of it as from
    /// [`finished`](Self::finished), but the server stays at work on the body until [`released`](Self::released).
    fn answered(&self, attempt: &Finished);

    /// The body of a streaming call's winner has ended or was dropped: the server counts one attempt less in flight.
    fn released(&self, server: ServerId);

    /// The channel's backup delay: that of its policy, else the plain one (B1).
    fn backup_delay(&self, now: Instant) -> BackupDelay {
        let _ = now;
        self.options().backup
    }

    /// Whether a backup may be sent now (L5). A grant counts at once.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Whether a retry may be sent now. A grant counts at once.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// A call that was polled at least once and has no policy of its own has ended.
    fn ended(&self, call: &Ended<'_>) {
        let _ = call;
    }
}

//! What a call asks of the channel that it belongs to: [`Host`], and the words of that conversation.

use core::fmt;
use core::hash::{Hash, Hasher};

use super::{Attempt, AttemptId};
use crate::balance::Seeds;
use crate::policy::{BackupDelay, ChannelOptions, Code, Denial, Ended, Idempotency, Timeout};
use crate::time::{Duration, Instant};

/// A server of a cluster: a slot and which of the servers that have lived in it (L20). A removed server's id never means
/// another server as long as an attempt at it is out, nor before 65,536 servers have passed through its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(from = "Parts", into = "Parts"))]
pub struct ServerId(u32);

impl ServerId {
    /// The id of the `generation`-th server in `slot`.
    #[must_use]
    pub const fn new(slot: u16, generation: u16) -> Self {
        // In one word: it is passed around more often than it is taken apart.
        Self((slot as u32) << 16 | generation as u32)
    }

    /// The slot, from 0.
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Which of the servers that have lived in the slot.
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

/// A [`ServerId`] as it is written out.
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

/// Which address a server has, as a number: equal for servers that differ only in their tag. "Another server" means
/// another address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddressKey(pub u32);

impl AddressKey {
    /// The key that an address asks for: the same whenever it comes back. Whoever keeps the list gives the next free one
    /// where another address of the list has it.
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

/// How an attempt went, for the balancer (S7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Feedback {
    /// The server answered: `Accept`, or a `Fatal`, which is not the server's fault.
    Success {
        /// From the attempt's start to its end.
        latency: Duration,
    },
    /// `Retry` or `Wait`; or the call's deadline, of an attempt that had enough time for an answer (L13).
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
    /// From the attempt's start to its end, whichever that was.
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
    /// Its number in its call: so many attempts were before it.
    pub attempt: AttemptId,
    /// How many attempts may follow the call's first.
    pub max_retry: u8,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl Sent {
    /// That it is over.
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
    /// What the balancer wants to be told again of a server that it chose.
    type Ticket: Copy;

    /// The options that a call inherits.
    fn options(&self) -> &ChannelOptions;

    /// Whether the requests of calls that do not say may be sent twice (L15): for hosts of one call, who know its request.
    fn idempotency(&self) -> Idempotency {
        self.options().idempotency
    }

    /// Where a call's random numbers come from.
    fn seeds(&self) -> &Seeds;

    /// How many different addresses the list holds, usable or not (L4).
    fn addresses(&self) -> usize;

    /// Looks for a server, changing nothing. `random` draws from the call's own generator.
    ///
    /// # Errors
    /// Why there is none.
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Self::Ticket>, NoServer>;

    /// Whether calls need a request code (S5).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Commits to a pick: the balancer moves on, the server counts one attempt more in flight, sent `now`. False, with
    /// nothing changed, if another call took the balancer's turn, or the server's, since the look and `insist` is false.
    ///
    /// A pick whose server has gone since the look is committed to nothing; the attempt will then fail as the transport
    /// finds no address for it.
    fn commit(&self, pick: &Pick<Self::Ticket>, now: Instant, insist: bool) -> bool;

    /// An attempt is over: the server counts one less in flight, and its balancer and its breaker learn how it went. Of a
    /// server that is gone, nothing is kept (L20).
    fn finished(&self, attempt: &Finished);

    /// The winner of a streaming call has its head (T2). Balancer and breaker learn of it as by
    /// [`finished`](Self::finished), but the server stays at work on the body, until [`released`](Self::released).
    fn answered(&self, attempt: &Finished);

    /// The body of a streaming call's winner has ended or was dropped: the server counts one less in flight.
    fn released(&self, server: ServerId);

    /// The channel's delay, its policy's before the plain one (B1).
    fn backup_delay(&self, now: Instant) -> BackupDelay {
        let _ = now;
        self.options().backup
    }

    /// Whether a backup may be sent now (L5); granting counts.
    ///
    /// # Errors
    /// The limit that refuses.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Whether a retry may be sent now; granting counts.
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

//! What a call asks of the channel that it belongs to: [`Host`], and the words of that conversation.

use core::task::{Context, Poll};

use crate::balance::{NoServer, Pick, Selection};
use crate::id::ServerId;
use crate::outcome::{Attempt, Denial, Finished};
use crate::policy::{BackupDelay, ChannelOptions, Ended, Idempotency};
use crate::random::Seeds;
use crate::time::Instant;

/// What a [`Call`](super::Call) asks its channel: choose a server, allow a send, record the outcome.
///
/// Shared by reference: every method takes `&self`. [`Channel`](crate::channel::Channel) is one; adapters bring others.
pub trait Host {
    /// The balancer's note about a server that it chose; the balancer gets it back at the commit.
    type Ticket: Copy;

    /// The options that a call inherits.
    fn options(&self) -> &ChannelOptions;

    /// Whether a request may be sent twice if its call does not say ([L15](crate::rules#L15)). A host of a single call
    /// knows its request and may answer by that.
    fn idempotency(&self) -> Idempotency {
        self.options().idempotency
    }

    /// Where a call's random numbers come from.
    fn seeds(&self) -> &Seeds;

    /// How many different addresses the list holds, usable or not ([L4](crate::rules#L4)).
    fn addresses(&self) -> usize;

    /// Searches for a server without committing to it. `random` draws from the call's own generator.
    ///
    /// # Errors
    /// Why there is none.
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Self::Ticket>, NoServer>;

    /// Whether calls need a request code ([S5](crate::rules#S5)).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Commits to a pick: the balancer moves on, and the server counts one more attempt in flight, sent `now`. Returns
    /// false and changes nothing if `insist` is false and another call has taken the balancer's turn, or the server's
    /// probe, since the look. A host with a cap also returns false, whether or not `insist` is set, if the server is full
    /// ([L22](crate::rules#L22)).
    ///
    /// If the server has gone since the look, nothing is committed, and the answer is true. The attempt then fails,
    /// since the driver finds no address for it.
    fn commit(&self, pick: &Pick<Self::Ticket>, now: Instant, insist: bool) -> bool;

    /// Why [`commit`](Self::commit) has refused every pick of a search, the last of which insisted. `tried` are the call's
    /// attempts. Only a host with a cap refuses one that insists ([L22](crate::rules#L22)). It answers
    /// [`NoServer::AllFull`], [`NoServer::Queued`] or [`NoServer::AllBusy`].
    fn refused(&self, tried: &[Attempt], now: Instant) -> NoServer {
        let _ = (tried, now);
        NoServer::Gone
    }

    /// How long the call may wait in the host's queue, after [`NoServer::Queued`]. At this instant it searches a last time.
    fn queued_until(&self) -> Instant {
        Instant::NEVER
    }

    /// Ready when the call should look for a server again ([`Call::look_again`](super::Call::look_again)), after
    /// [`NoServer::Queued`]. A driver polls it when the call has nothing else to do.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// An attempt is over: the server counts one attempt less in flight, and its balancer and its breaker learn how it
    /// went. Feedback for a server that is gone is dropped ([L20](crate::rules#L20)).
    fn finished(&self, attempt: &Finished);

    /// The winner of a streaming call has its head ([T2](crate::rules#T2)). Balancer and breaker learn of it as from
    /// [`finished`](Self::finished), but the server stays at work on the body until [`released`](Self::released).
    fn answered(&self, attempt: &Finished);

    /// The body of a streaming call's winner has ended or was dropped: the server counts one attempt less in flight.
    fn released(&self, server: ServerId);

    /// The channel's backup delay: that of its policy, else the plain one ([B1](crate::rules#B1)).
    fn backup_delay(&self, now: Instant) -> BackupDelay {
        let _ = now;
        self.options().backup
    }

    /// Whether a backup may be sent now ([L5](crate::rules#L5)). A grant counts at once.
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

//! The interface between a call and its channel: [`Host`].

use core::task::{Context, Poll};

use crate::balance::{NoServer, Pick, Selection};
use crate::id::ServerId;
use crate::outcome::{Attempt, Denial, Finished};
use crate::policy::{BackupDelay, CallOptions, ChannelOptions, Ended, Idempotency};
use crate::random::Seeds;
use crate::time::Instant;

/// The interface between a [`Call`](super::Call) and its channel. A call asks its host to choose a server, to allow an
/// attempt, and to record results.
///
/// Hosts are shared by reference: every method takes `&self`. [`Channel`](crate::channel::Channel) is a host, and
/// adapters have other hosts.
pub trait Host {
    /// The data that a balancer stores for the server that it has chosen. The balancer gets this data back when the
    /// call commits to the server.
    type Ticket: Copy;

    /// Returns the channel's options. A call uses them for every option that it does not set itself.
    fn options(&self) -> &ChannelOptions;

    /// Returns whether a request may be sent twice. A call uses this answer if its own options are `Unset`
    /// ([L15](crate::rules#L15)). A host that serves a single call can look at the request, for example at its HTTP
    /// method.
    fn idempotency(&self) -> Idempotency {
        self.options().idempotency
    }

    /// Returns the source of the seeds for the calls' random numbers.
    fn seeds(&self) -> &Seeds;

    /// Returns how many different addresses the list of servers holds. Servers that are not usable count too
    /// ([L4](crate::rules#L4)).
    fn addresses(&self) -> usize;

    /// Searches for a server, without committing to it. `random` draws from the call's own generator.
    ///
    /// # Errors
    /// Returns the reason why no server can be chosen.
    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Self::Ticket>, NoServer>;

    /// Returns whether each call must have a request code, which the balancer hashes ([S5](crate::rules#S5)).
    fn needs_request_code(&self) -> bool {
        false
    }

    /// Commits to a pick: the balancer moves on, and the host counts one more attempt in flight at the server. The
    /// attempt counts as sent at `now`.
    ///
    /// Without `insist`, the commit can fail: since the look, another call may have taken the balancer's turn or become
    /// the server's probe. Then the result is false, and nothing changes. A host with a cap also returns false if the
    /// server is full, even if `insist` is true ([L22](crate::rules#L22)).
    ///
    /// If the server has been removed since the look, the result is true, although no server gets the attempt. The
    /// attempt then fails, since the driver finds no address for the server.
    fn commit(&self, pick: &Pick<Self::Ticket>, now: Instant, insist: bool) -> bool;

    /// Calls [`look`](Self::look), and then calls [`commit`](Self::commit) with the result. Returns `None` if the
    /// commit was refused. A call uses this method for its first attempt, since a first attempt asks no limit between
    /// the two steps. A host that has to load its list overrides this method, so that both steps use one load.
    ///
    /// # Errors
    /// Returns the error of [`look`](Self::look).
    #[inline]
    fn look_and_commit(
        &self,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
        now: Instant,
        insist: bool,
    ) -> Result<Option<Pick<Self::Ticket>>, NoServer> {
        let pick = self.look(selection, random)?;
        Ok(self.commit(&pick, now, insist).then_some(pick))
    }

    /// Returns why a search has found no server. A call asks this if [`commit`](Self::commit) has refused all picks of
    /// the search, even the last pick, for which `insist` was true. Only a host with a cap refuses such a pick. Such a
    /// host returns [`NoServer::AllFull`], [`NoServer::Queued`] or [`NoServer::AllBusy`] ([L22](crate::rules#L22)).
    /// `tried` holds the call's attempts.
    fn refused(&self, tried: &[Attempt], now: Instant) -> NoServer {
        let _ = (tried, now);
        NoServer::Gone
    }

    /// Returns the instant until which a call may wait in the host's queue, after [`NoServer::Queued`]. At this instant
    /// the call searches for the last time.
    fn queued_until(&self) -> Instant {
        Instant::NEVER
    }

    /// Becomes ready when a call in the host's queue should search for a server again. The driver then calls
    /// [`Call::look_again`](super::Call::look_again). A driver polls this after [`NoServer::Queued`], when the call has
    /// nothing else to do.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }

    /// Records that an attempt is over. The host counts one attempt less in flight at the server. The balancer and the
    /// breaker learn the result of the attempt. Feedback for a server that has been removed is dropped
    /// ([L20](crate::rules#L20)).
    fn finished(&self, attempt: &Finished);

    /// Records that the head of the winning reply of a streaming call has arrived ([T2](crate::rules#T2)). The balancer
    /// and the breaker learn the result of the attempt, as in [`finished`](Self::finished). The attempt still counts as
    /// in flight while the server sends the body, until [`released`](Self::released) is called.
    fn answered(&self, attempt: &Finished);

    /// Records that the body of a streaming call's winner has ended or was dropped. The host then counts one attempt
    /// less in flight at the server.
    fn released(&self, server: ServerId);

    /// Returns the channel's backup delay. This is the delay that the channel's backup policy gives. If there is no
    /// policy or it gives no delay, this is the fixed delay of the channel's options ([B1](crate::rules#B1)).
    fn backup_delay(&self, now: Instant) -> BackupDelay {
        let _ = now;
        self.options().backup
    }

    /// Asks the channel's policy whether a backup may be sent now ([L5](crate::rules#L5)). Each permission counts as a
    /// backup at once.
    ///
    /// # Errors
    /// Returns the limit that refuses the backup.
    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Asks the channel's policy whether a retry may be sent now. Each permission counts as a retry at once.
    ///
    /// # Errors
    /// Returns the limit that refuses the retry.
    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let _ = now;
        Ok(())
    }

    /// Informs the channel's policy that a call has ended. This is called once for each call that was polled and that
    /// has no policy of its own.
    fn ended(&self, call: &Ended<'_>) {
        let _ = call;
    }
}

/// Makes the [`Selection`] of a call: the conditions of its search for a server.
#[cfg_attr(not(target_os = "none"), inline(always))]
pub(super) fn selection<'a>(
    host: &(impl Host + ?Sized),
    options: &CallOptions<'a>,
    tried: &'a [Attempt],
    same: Option<ServerId>,
    now: Instant,
) -> Selection<'a> {
    let CallOptions { servers, request_code, .. } = *options;
    Selection { tried, same, working_too: host.options().same_server_backup, servers, request_code, now }
}

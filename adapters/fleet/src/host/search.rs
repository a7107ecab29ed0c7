//! How a call searches for a server: in the current list, with a queue of calls that wait for room, and while the share
//! of new or returned servers still grows.

use std::ops::Deref;

use hedge_core::balance::{AnyTicket, NoServer, Pick, Selection, select};
use hedge_core::outcome::Attempt;
use hedge_core::time::Instant;

use super::{CallHost, ChannelContext, SnapshotOf};
use crate::Balancer;
use crate::node::Service;
use crate::queue::{Queue, Queued};
use crate::servers::Servers;
use crate::slow_start::SlowStart;
use crate::snapshot::View;

impl<O: Deref<Target: ChannelContext>> CallHost<O> {
    /// Searches for the server of an attempt in the current list, without regard to the queue.
    pub(super) fn search(
        &self,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Pick<AnyTicket>, NoServer> {
        self.search_in(&self.channel.servers().load(), selection, random)
    }

    /// Searches for the server of an attempt in `snapshot`, without regard to the queue.
    // This function is inlined into the start of a first attempt, so that the pick stays in registers.
    #[inline(always)]
    pub(super) fn search_in(
        &self,
        snapshot: &SnapshotOf<O>,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Pick<AnyTicket>, NoServer> {
        let (servers, own) = (self.channel.servers(), O::Target::named(&self.call));
        let (health, capped) = (snapshot.health(), servers.cap().is_some());
        let view = View { list: &snapshot.list, health, own, capped, drawn: None, now: selection.now };
        let recovers = health.recovers() && selection.by_balancer();
        if recovers && !health.admit(selection.now, || snapshot.usable(selection.now), &mut *random) {
            return Servers::last_resort(snapshot, selection);
        }
        if capped && selection.same.and_then(|same| snapshot.list.get(same)).is_some_and(|same| !same.has_room()) {
            return Err(full(selection.tried));
        }
        if let Some(slow) = servers.slow_start().filter(|slow| slow.is_on(selection.now) && selection.by_balancer())
            && snapshot.has_whole(slow, selection.now)
            && let Some(pick) = select_ramping(&view, slow, &snapshot.balancer, selection, random)
        {
            return Ok(pick);
        }
        match select(&view, &snapshot.balancer, selection, random) {
            Err(NoServer::AllDown) if capped && snapshot.has_full(selection.servers, selection.now) => {
                Err(full(selection.tried))
            }
            Err(NoServer::AllDown) => {
                if recovers {
                    health.all_down(selection.now);
                }
                Servers::last_resort(snapshot, selection)
            }
            pick => pick,
        }
    }

    /// Searches for the server of a first attempt in a channel with a queue. A call that waits in the queue gets a
    /// server before a call that comes later.
    #[cold]
    pub(super) fn search_in_turn(
        &self,
        queue: &Queue,
        selection: &Selection<'_>,
        random: &mut dyn FnMut() -> u32,
    ) -> Result<Pick<AnyTicket>, NoServer> {
        if let Some(queued) = self.queued() {
            let is_over = queued.until() <= selection.now;
            if is_over && !queued.may_look() {
                return Err(NoServer::AllFull);
            }
            return match self.search(selection, random) {
                Err(NoServer::AllFull) if !is_over => Err(NoServer::Queued),
                found => found,
            };
        }
        if queue.is_empty() {
            match self.search(selection, random) {
                Err(NoServer::AllFull) => {}
                found => return found,
            }
        } else if self.has_room(selection.now) {
            // The waiting calls may not know that there is room. For example, the end of an isolation wakes no call.
            queue.remind_first();
        }
        Err(self.join_queue(selection.now))
    }

    /// Puts the call into the queue. The result is `Queued`, or `AllFull` if there is no queue or if the queue is full.
    pub(super) fn join_queue(&self, now: Instant) -> NoServer {
        let Some(cap) = self.channel.servers().cap() else { return NoServer::AllFull };
        let until = cap.max_wait().ends(now);
        match cap.queue().and_then(|queue| Queued::join(queue, until)) {
            None => NoServer::AllFull,
            Some(queued) => {
                // The call has no place yet, since a call joins the queue only once.
                self.rare().queued.get_or_init(|| queued);
                NoServer::Queued
            }
        }
    }

    /// Returns whether some server is usable and has room.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.channel.servers().load().has_room(now)
    }
}

/// Searches while servers are ramping ([S11](hedge_core::rules#S11)), that is, while the share of new or returned
/// servers still grows. The search draws a random number. It skips each server whose share is not above this number. If
/// the result is `None`, the caller must search among all servers. There are two possible causes: no usable server has
/// its full share, or the search found no server that the call has not tried ([L11](hedge_core::rules#L11)).
#[cold]
fn select_ramping<K, S: Service>(
    view: &View<'_, K, S>,
    slow: &SlowStart,
    balancer: &Balancer,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Option<Pick<AnyTicket>> {
    let view = View { drawn: Some((slow, random())), ..*view };
    let pick = select(&view, balancer, selection, random).ok()?;
    let was_tried = selection.tried.iter().any(|attempt| attempt.address() == pick.address);
    (!was_tried).then_some(pick)
}

/// Returns the result of a search that has found only full servers. If the call has attempts in flight, the result is
/// `AllBusy`, since the call waits for the end of one of them ([L11](hedge_core::rules#L11)). Otherwise the result is
/// `AllFull`.
pub(super) fn full(tried: &[Attempt]) -> NoServer {
    if tried.iter().any(Attempt::in_flight) { NoServer::AllBusy } else { NoServer::AllFull }
}

//! The reply of a call to one of several channels: [`SelectiveReply`].

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hedge_core::outcome::Verdict;
use hedge_fleet::{Outcome, SubCall, Trace};

use super::{LostCall, sub_calls};

/// The reply of the sub-channel that has won, and the report of the call. It dereferences to the reply of the
/// sub-channel.
pub struct SelectiveReply<Reply> {
    reply: Reply,
    trace: Trace,
    lost: Vec<LostCall>,
    /// Keeps the sub-call counted as in flight while the body of its reply streams ([T2](hedge_core::rules#T2)).
    lease: Option<Box<dyn Any + Send + Sync>>,
}

impl<Reply> SelectiveReply<Reply> {
    pub(super) const fn new(
        reply: Reply,
        trace: Trace,
        lost: Vec<LostCall>,
        lease: Option<Box<dyn Any + Send + Sync>>,
    ) -> Self {
        Self { reply, trace, lost, lease }
    }

    /// Returns the name of the sub-channel that has replied.
    pub fn channel(&self) -> Option<&Arc<str>> {
        self.trace.key_of(self.trace.winner()?)
    }

    /// Returns the reply of the sub-channel alone. If the reply streams, its sub-call no longer counts as in flight.
    pub fn into_inner(self) -> Reply {
        self.reply
    }

    /// Returns whether the sub-call still counts as in flight, because the body of its reply streams.
    pub const fn is_streaming(&self) -> bool {
        self.lease.is_some()
    }
}

impl<Reply: Outcome> Outcome for SelectiveReply<Reply> {
    fn trace(&self) -> &Trace {
        &self.trace
    }

    fn verdict(&self) -> Verdict {
        Verdict::Accept
    }

    fn never_left(&self) -> bool {
        false
    }

    fn all_down(&self) -> bool {
        false
    }

    fn sub_calls(&self) -> Vec<SubCall> {
        sub_calls(&self.trace, &self.lost, Some(self.reply.tree()))
    }
}

impl<Reply> Deref for SelectiveReply<Reply> {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.reply
    }
}

impl<Reply: fmt::Debug> fmt::Debug for SelectiveReply<Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectiveReply").field("reply", &self.reply).field("trace", &self.trace).finish_non_exhaustive()
    }
}

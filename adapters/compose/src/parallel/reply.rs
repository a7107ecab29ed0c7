//! The reply of a call to several channels at once: [`ParallelReply`].

use std::fmt;
use std::ops::Deref;

use hedge_core::outcome::Verdict;
use hedge_fleet::{Outcome, SubCall, Trace};

use super::parts::Parts;

/// What the merger made of the replies, the result of every part, and the report of the call. It dereferences to what
/// the merger made.
pub struct ParallelReply<Merged, Reply, E> {
    merged: Merged,
    parts: Parts<Reply, E>,
    trace: Trace,
}

impl<Merged, Reply, E> ParallelReply<Merged, Reply, E> {
    pub(super) const fn new(merged: Merged, parts: Parts<Reply, E>, trace: Trace) -> Self {
        Self { merged, parts, trace }
    }

    /// Returns the result of every part, in the order of the sub-channels.
    pub const fn parts(&self) -> &Parts<Reply, E> {
        &self.parts
    }

    /// Returns what the merger made, and the result of every part.
    pub fn into_inner(self) -> (Merged, Parts<Reply, E>) {
        (self.merged, self.parts)
    }
}

impl<Merged, Reply: Outcome, E: Outcome> Outcome for ParallelReply<Merged, Reply, E> {
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
        self.parts.sub_calls()
    }
}

impl<Merged, Reply, E> Deref for ParallelReply<Merged, Reply, E> {
    type Target = Merged;

    fn deref(&self) -> &Merged {
        &self.merged
    }
}

impl<Merged: fmt::Debug, Reply: fmt::Debug, E: fmt::Debug> fmt::Debug for ParallelReply<Merged, Reply, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParallelReply")
            .field("merged", &self.merged)
            .field("parts", &self.parts)
            .field("trace", &self.trace)
            .finish()
    }
}

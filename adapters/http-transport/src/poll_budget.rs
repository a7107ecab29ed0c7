//! Limits the work of one poll of a body's reader: [`PollBudget`].

use std::task::{Context, Poll};

/// Limits how many pieces a reader takes in one poll, so that other tasks on its thread can run.
#[derive(Default)]
pub(super) struct PollBudget(usize);

/// How many pieces a reader takes in one poll.
const PIECES_A_POLL: usize = 32;

impl PollBudget {
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.0 == PIECES_A_POLL {
            self.0 = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = next(cx);
        self.0 = if polled.is_ready() { self.0.saturating_add(1) } else { 0 };
        polled
    }
}

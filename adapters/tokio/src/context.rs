//! Whether tokio polls a task on this thread: [`may_block`].

use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::coop::poll_proceed;

/// Returns whether the code that runs now may wait. Outside of a runtime this costs one look-up. For the cost inside a
/// runtime, see [`has_budget`].
pub(crate) fn may_block() -> bool {
    Handle::try_current().is_err() || !has_budget(u8::MAX)
}

/// Returns whether the code that runs now has one of tokio's budgets of at most `left` units. Tokio gives a budget to
/// each poll of a task, and to the future of `block_on`. It gives none to `spawn_blocking`, to `block_in_place`, and to
/// threads that have only entered the runtime.
///
/// Tokio does not say whether there is a budget. But a budget has at most 255 units, so this takes up to 256 units and
/// puts them back.
fn has_budget(left: u8) -> bool {
    match poll_proceed(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        // The unit is put back when it is dropped, which is after those that are taken later.
        Poll::Ready(_unit) => left.checked_sub(1).is_some_and(has_budget),
    }
}

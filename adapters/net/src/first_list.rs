//! How a call waits for the first list of servers ([N5](hedge_core::rules#N5)): [`Waited`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hedge_core::drive::Cancel as _;
use hedge_core::time::{Duration, Timeout};
use hedge_fleet::{AsCallOptions as _, CallOptions, NamingError};
use hedge_link::{Runtime, before};

use crate::fleet::Fleet;

/// A call that has waited for the first list.
pub(crate) struct Waited {
    /// The options of the call, with the time that is left.
    pub(crate) options: CallOptions,
    /// The list did not come in time. The call then starts nothing.
    pub(crate) missed: Option<MissedList>,
}

/// The list did not come in time.
pub(crate) struct MissedList {
    /// How long the call has waited.
    pub(crate) waited: Duration,
    /// The last error of the source.
    pub(crate) error: Option<NamingError>,
}

impl Waited {
    /// Waits for the first list, at most to the call's deadline, or until the call is cancelled. `timeout` is the
    /// channel's.
    pub(crate) async fn for_list<R: Runtime>(
        runtime: &R,
        fleet: &Arc<Fleet>,
        timeout: Timeout,
        options: &CallOptions,
    ) -> Self {
        let start = runtime.now();
        let deadline = options.timeout.unwrap_or(timeout).limit().map(|timeout| start + timeout);
        let mut listed = pin!(fleet.listed());
        // A cancelled call goes on at once, to end as cancelled.
        let listed = poll_fn(|cx| match listed.as_mut().poll(cx) {
            Poll::Pending if options.cancel().is_some_and(|cancel| cancel.poll(cx)) => Poll::Ready(()),
            poll => poll,
        });
        let in_time = before(runtime, deadline, listed).await.is_some();
        let now = runtime.now();
        let missed = (!in_time).then(|| {
            let error = fleet.source.as_ref().and_then(|source| source.status().error);
            MissedList { waited: now.since(start), error }
        });
        // Without time, a call starts nothing and ends as it does at its deadline.
        let left = deadline.map(|deadline| Timeout::after(deadline.since(now)));
        Self { options: CallOptions { timeout: left.or(options.timeout), ..options.clone() }, missed }
    }
}

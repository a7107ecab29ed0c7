//! How a call waits for the first list of servers ([N5](hedge_core::rules#N5)): [`Waited`].

use std::sync::Arc;

use hedge_core::time::{Duration, Timeout};
use hedge_fleet::{AsCallOptions as _, CallOptions, NamingError};
use hedge_link::Runtime;

use crate::fleet::Fleet;
use crate::wait::{Wait, in_time};

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
        // A cancelled call goes on at once, to end as cancelled.
        let waited = in_time(runtime, deadline, options.cancel(), fleet.listed()).await;
        let in_time = !matches!(waited, Wait::Late);
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

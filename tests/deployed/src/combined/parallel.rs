//! One call to 50 servers at once, of which one is frozen: [`rows`].

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hedge_compose::{Parallel, ParallelBuilder, ParallelCause, PartResult};
use hedge_fleet::{CallOptions, Caller as _};
use hedge_net::Runtime;

use super::{PATIENCE, Place, Row, SERVERS, request};
use crate::client::CountedChannel;
use crate::counting::Counting;

/// The timeout of a call that waits for the frozen server. The other servers must have answered by then.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The first row makes one call for this many calls of a [`Selective`](hedge_compose::Selective). Each has 50 parts.
const FEWER: u64 = 100;
/// The second row makes one call for this many calls of the first row.
const WAITING: u64 = 20;

/// With a `success_limit` of 49, no call waits for the frozen server. Without it, every call fails at its deadline, and
/// its error has the 49 replies.
pub(super) fn rows<R: Runtime + Unpin>(place: &Place<'_, R>) -> Result<Vec<Row>, Box<dyn Error>> {
    let calls = place.settings.combined.div_ceil(FEWER);
    let (parts, wanted) = (place.parts()?, SERVERS - 1);
    let enough = channel(place, &parts, |builder| builder.timeout(PATIENCE).success_limit(wanted))?;
    let waiting = channel(place, &parts, |builder| builder.timeout(TIMEOUT).fail_limit(2))?;
    let mut rows = vec![
        row(place, "parallel, success_limit 49", calls, &enough)?,
        row(place, "parallel, fail_limit 2", calls.div_ceil(WAITING), &waiting)?,
    ];
    let [answered, failed] = rows.as_mut_slice() else { return Ok(rows) };
    if answered.answered < answered.calls {
        answered.wrong.push(format!("{} calls were not answered", answered.calls - answered.answered));
    }
    if failed.answered > 0 {
        failed.wrong.push(format!("{} calls were answered without the frozen server", failed.answered));
    }
    let attempts: u32 =
        parts.iter().flat_map(|part| part.servers().into_iter().map(|server| part.in_flight(&server))).sum();
    let calls = enough.in_flight() + waiting.in_flight();
    if calls + attempts > 0 {
        failed.wrong.push(format!("{calls} calls and {attempts} attempts are in flight"));
    }
    Ok(rows)
}

impl<R: Runtime> Place<'_, R> {
    /// One channel for each server. The first server is frozen.
    fn parts(&self) -> Result<Vec<CountedChannel<R>>, Box<dyn Error>> {
        (0..SERVERS).map(|index| Ok(self.builder(index..index + 1)?.build()?)).collect()
    }
}

type Channel<R> = Parallel<CountedChannel<R>, Counting<R>>;
type Builder<R> = ParallelBuilder<CountedChannel<R>, Counting<R>>;

fn channel<R: Runtime>(
    place: &Place<'_, R>,
    parts: &[CountedChannel<R>],
    set: impl FnOnce(Builder<R>) -> Builder<R>,
) -> Result<Channel<R>, Box<dyn Error>> {
    let builder = set(Parallel::builder(place.runtime.clone()));
    let add = |builder: Builder<R>, (index, part): (usize, &CountedChannel<R>)| {
        builder.channel(format!("{index}"), part.clone())
    };
    Ok(parts.iter().enumerate().fold(builder, add).build()?)
}

/// The calls of one channel. Each has 49 replies, whether it succeeds or fails.
fn row<R: Runtime + Unpin>(
    place: &Place<'_, R>,
    name: &'static str,
    calls: u64,
    channel: &Channel<R>,
) -> Result<Row, Box<dyn Error>> {
    let (channel, request) = (channel.clone(), Arc::new(request()?));
    Ok(place.row(name, calls, move || {
        let (channel, request) = (channel.clone(), Arc::clone(&request));
        async move {
            let result = channel.call_with(&request, &CallOptions::new()).await;
            let parts = match &result {
                Ok(reply) => reply.parts(),
                Err(error) if matches!(error.cause(), ParallelCause::Deadline) => error.parts(),
                Err(error) => return Err(error.to_string()),
            };
            let is_frozen = match parts.first().map(|part| &part.result) {
                Some(PartResult::Cancelled) => result.is_ok(),
                Some(PartResult::Missing(_)) => result.is_err(),
                _ => false,
            };
            let replies = parts.replies().count();
            if replies == SERVERS - 1 && is_frozen {
                Ok(result.is_ok())
            } else {
                Err(format!("{replies} replies; the frozen server: {is_frozen}"))
            }
        }
    }))
}

//! A backup between two clusters, of which one is frozen: [`rows`].

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hedge_compose::Selective;
use hedge_fleet::{CallOptions, Caller as _, Outcome as _};
use hedge_net::{LimitOptions, Runtime};

use super::{CLUSTER, PATIENCE, Place, Row, request};
use crate::client::CountedChannel;
use crate::counting::Counting;
use crate::server::PAGE;

const BACKUP: Duration = Duration::from_millis(10);
/// How long a call that may fail may take.
const TIMEOUT: Duration = Duration::from_millis(200);
/// The rows with safe limits make one call for this many calls of the first row, since a call without a backup may take
/// [`TIMEOUT`].
const FEWER: u64 = 50;

/// The limits of the backups, and the balancer over the clusters.
struct Kind {
    name: &'static str,
    limits: LimitOptions,
    balancer: &'static str,
}

/// Without limits, every call is answered. With the safe limits, at most 10 % of the calls have a backup. Then the
/// balancer must keep calls away from the frozen cluster: `rr` sends half of the calls there, and `p2c` learns to avoid
/// it.
pub(super) fn rows<R: Runtime + Unpin>(place: &Place<'_, R>) -> Result<Vec<Row>, Box<dyn Error>> {
    let calls = place.settings.combined;
    [
        Kind { name: "selective rr, no limits", limits: LimitOptions::NONE, balancer: "rr" },
        Kind { name: "selective rr, safe limits", limits: LimitOptions::default(), balancer: "rr" },
        Kind { name: "selective p2c, safe limits", limits: LimitOptions::default(), balancer: "p2c" },
    ]
    .into_iter()
    .map(|kind| {
        let is_limited = kind.limits != LimitOptions::NONE;
        row(place, &kind, if is_limited { calls.div_ceil(FEWER) } else { calls }, is_limited)
    })
    .collect()
}

/// The calls of one channel. If its backups are limited, calls may end at their deadlines, and in no other way.
fn row<R: Runtime + Unpin>(
    place: &Place<'_, R>,
    kind: &Kind,
    calls: u64,
    is_limited: bool,
) -> Result<Row, Box<dyn Error>> {
    let clusters = [0..CLUSTER, CLUSTER..2 * CLUSTER].map(|servers| place.builder(servers));
    let [frozen, healthy] = clusters.map(|builder| Ok::<_, Box<dyn Error>>(builder?.build()?));
    let (frozen, healthy) = (frozen?, healthy?);
    let selective = Selective::builder(place.runtime.clone())
        .timeout(if is_limited { TIMEOUT } else { PATIENCE })
        .load_balancer(kind.balancer)
        .backup(BACKUP)
        .limits(kind.limits)
        .seed(place.settings.seed)
        .channel("frozen", frozen.clone())
        .channel("healthy", healthy.clone())
        .build()?;
    let (channel, request) = (selective.clone(), Arc::new(request()?));
    let mut row = place.row(kind.name, calls, move || {
        let (channel, request) = (channel.clone(), Arc::clone(&request));
        async move {
            match channel.call_with(&request, &CallOptions::new()).await {
                Ok(reply) if reply.channel().map(AsRef::as_ref) != Some("healthy") => {
                    Err(format!("a frozen cluster has answered: {}", reply.tree()))
                }
                Ok(reply) if reply.text().is_ok_and(|text| text == PAGE) => Ok(true),
                Ok(reply) => Err(reply.status().to_string()),
                Err(error) if is_limited && error.kind() == "deadline" => Ok(false),
                Err(error) => Err(error.to_string()),
            }
        }
    });
    row.backups = selective.counters().backups;
    if row.backups == 0 {
        row.wrong.push("no backup was sent".into());
    }
    row.wrong.extend(in_flight(&selective, [&frozen, &healthy]));
    Ok(row)
}

/// What still counts as in flight, as text. `None` if nothing does, as it must be.
fn in_flight<R: Runtime>(
    selective: &Selective<CountedChannel<R>, Counting<R>>,
    clusters: [&CountedChannel<R>; 2],
) -> Option<String> {
    let sub_calls: u32 = selective.names().iter().map(|name| selective.in_flight(name)).sum();
    let attempts: u32 = clusters
        .into_iter()
        .flat_map(|cluster| cluster.servers().into_iter().map(|server| cluster.in_flight(&server)))
        .sum();
    (sub_calls + attempts > 0).then(|| format!("{sub_calls} sub-calls and {attempts} attempts are in flight"))
}

//! How long calls take, and what goes by that: the channel's latencies, an adaptive delay, a shadow.

use std::sync::Arc;

use hedge_core::bounded::Bounded;
use hedge_core::time::Duration;
use hedge_net::latency::{LatencyWindow, Quantile};
use hedge_net::{
    AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, CallOptions, Denial, Extra, Kind, NotHedged, Runtime,
    Shadow,
};

use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::{assert_settled, both, drop_when, get, list, server};

/// The channel's recorder keeps what is this old, and more.
const KEPT: Duration = Duration::from_secs(4);

/// Answers at once, but "/busy" with 503, "/slow" once the signal was raised, and "/never" not at all.
fn answering(gate: &Signal) -> TestServer {
    let gate = gate.clone();
    TestServer::start(move |connection| {
        while let Some(seen) = connection.request() {
            let answer = match seen.head.split(' ').nth(1) {
                Some("/busy") => status(503, "busy"),
                Some("/never") => return connection.until_closed(),
                Some("/slow") => {
                    gate.block_until(1);
                    ok("late")
                }
                _ => ok(""),
            };
            connection.send(&answer);
        }
    })
}

/// The servers of a call, in this order.
fn in_order(first: &TestServer, second: &TestServer) -> CallOptions {
    let servers = [first, second].map(|there| server(there.address));
    CallOptions { servers: Some(servers.into()), ..CallOptions::new() }
}

pub async fn l13_every_call_counts_and_what_was_not_answered_as_a_lower_bound<R: Runtime>(runtime: R) {
    const CALLS: u64 = 10;
    const LATE: Duration = Duration::from_millis(50);
    const NEAR: Duration = Duration::from_millis(5);
    let there = answering(&Signal::new());
    let with_own = CallOptions { backup_policy: Some(Arc::new(Shadow::new([LATE]))), ..CallOptions::new() };
    let too_many = CallOptions { max_retry: Some(8), ..CallOptions::new() };
    loop {
        let channel = list(&runtime, &[there.address]).build().unwrap();
        assert_eq!((channel.latencies().count(), channel.latencies().mean()), (0, None));
        let begun = channel.now();
        let (mut answered, mut longest) = (0, Duration::ZERO);
        for own in [&CallOptions::new(), &with_own] {
            for _ in 0..CALLS {
                let reply = channel.call_with(get("/"), own).await.unwrap();
                assert!((begun..=channel.now()).contains(&reply.report().started()));
                (answered, longest) = (answered + 1, longest.max(reply.report().elapsed()));
            }
            let fatal = channel.call_with(get("https://example.com/"), own).await.unwrap_err();
            assert_eq!(fatal.kind(), "fatal");
            (answered, longest) = (answered + 1, longest.max(fatal.report().elapsed()));
        }
        let latencies = channel.latencies();
        let so_far = (latencies.count(), latencies.abandoned(), latencies.max());
        for own in [&CallOptions::new(), &with_own] {
            let failed = channel.call_with(get("/busy"), &CallOptions { max_retry: Some(0), ..own.clone() }).await;
            assert_eq!(failed.unwrap_err().kind(), "failed");
            let late = channel.call_with(get("/never"), &own.clone().with_timeout(LATE)).await;
            assert_eq!(late.unwrap_err().kind(), "deadline");
            let seen = there.requests.count();
            drop_when(channel.call_with(get("/never"), own), there.requests.reached(seen + 1)).await;
        }
        assert_eq!(channel.call_with(get("/"), &too_many).await.unwrap_err().kind(), "config");
        drop(channel.call(get("/")));
        channel.set_servers(Vec::new()).unwrap();
        assert_eq!(channel.call(get("/")).await.unwrap_err().kind(), "no_server");
        assert_settled(&channel);
        let latencies = channel.latencies();
        if channel.now().since(begun) > KEPT {
            continue;
        }
        assert_eq!(so_far, (answered, 0, longest));
        assert_eq!((latencies.count(), latencies.abandoned(), latencies.max()), (answered + 7, 7, longest));
        let qps = u128::from(latencies.count()) * 1_000_000 / latencies.span().as_micros();
        assert!(latencies.span() <= KEPT + KEPT && u128::from(latencies.qps()) == qps && qps > 0, "{latencies:?}");
        let [(_, first), .., (_, last)] = latencies.cdf().unwrap();
        // Nothing is known to have taken longer than the two that were late.
        assert!(first <= longest + longest && last >= LATE - NEAR, "{first:?} to {last:?}, and {longest:?}");
        assert!(latencies.quantile(Quantile::P50).unwrap() <= longest + longest);
        break;
    }
}

pub async fn b7_an_adaptive_delay_hedges_once_it_has_warmed_up<R: Runtime>(runtime: R) {
    const WARM_UP: u32 = 8;
    let (slow, quick) = (answering(&Signal::new()), TestServer::answering(|_| ok("quick")));
    // A small window, so that it soon looks at what it holds.
    let options = AdaptiveOptions {
        warm_up: Bounded::of::<WARM_UP>(),
        window: LatencyWindow::new(KEPT).unwrap(),
        ..AdaptiveOptions::DEFAULT
    };
    let adaptive = Arc::new(AdaptiveDelay::new(options));
    let channel =
        list(&runtime, &[slow.address, quick.address]).backup_policy(Arc::clone(&adaptive) as _).build().unwrap();
    for _ in 0..WARM_UP {
        let reply = channel.call(get("/")).await.unwrap();
        assert_eq!(reply.report().not_hedged(), Some(NotHedged::Disabled));
    }
    while adaptive.delay(channel.now()) == Some(BackupDelay::OFF) {
        channel.call(get("/")).await.unwrap();
    }
    let reply = channel.call_with(get("/never"), &in_order(&slow, &quick)).await.unwrap();
    let report = reply.report();
    assert_eq!((reply.server().unwrap(), report.attempts().len()), (&server(quick.address), 2));
    let backup = &report.attempts()[1];
    assert_eq!(backup.kind(), Kind::Backup);
    assert!(backup.started() >= options.delay.min().get(), "{report:?}");
    slow.closed.reached(1).await;
    assert_settled(&channel);
    // The loser is known to have taken longer than that; its call was answered.
    assert!(adaptive.latencies().snapshot(channel.now()).abandoned() >= 1);
    assert_eq!(channel.latencies().abandoned(), 0);
    assert_eq!(channel.denied(Extra::Backup, Denial::ExtraLoad), 0);
}

pub async fn b2_a_shadow_sends_no_backup_and_counts_it<R: Runtime>(runtime: R) {
    const DELAY: Duration = Duration::from_millis(5);
    let gate = Signal::new();
    let (slow, other) = (answering(&gate), answering(&gate));
    let shadow = Arc::new(Shadow::new([DELAY]));
    let channel =
        list(&runtime, &[slow.address, other.address]).backup_policy(Arc::clone(&shadow) as _).build().unwrap();
    let options = in_order(&slow, &other);
    let answer_late = async {
        slow.requests.reached(1).await;
        runtime.sleep_until(runtime.now() + DELAY + DELAY).await;
        gate.raise();
    };
    let (reply, ()) = both(channel.call_with(get("/slow"), &options), answer_late).await;
    let reply = reply.unwrap();
    assert_eq!(reply.body().bytes().unwrap(), "late");
    assert_eq!((reply.report().attempts().len(), reply.report().not_hedged()), (1, Some(NotHedged::Shadow)));
    let count = shadow.counts().next().unwrap();
    assert_eq!((count.delay, count.calls, count.sent), (DELAY, 1, 1));
    assert_eq!((other.requests.count(), channel.denied(Extra::Backup, Denial::Ratio)), (0, 0));
    // What is back in time would not have sent one.
    let mut sent = 1;
    for _ in 0..5 {
        let report = channel.call_with(get("/"), &options).await.unwrap().into_parts().1;
        assert_eq!(report.not_hedged() == Some(NotHedged::Shadow), report.elapsed() > DELAY, "{report:?}");
        sent += u32::from(report.elapsed() > DELAY);
    }
    let count = shadow.counts().next().unwrap();
    assert_eq!((count.calls, count.sent, other.requests.count()), (6, sent, 0));
    assert_settled(&channel);
}

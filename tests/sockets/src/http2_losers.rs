//! The losers of hedged calls over HTTP/2: their streams are reset or their answers thrown away, and the connection lives (C2).

use std::time::Duration;

use hedge_net::http::{DrainOptions, DrainOrClose};
use hedge_net::{CallOptions, LimitOptions, Runtime};
use http::Response;

use super::health::until;
use super::http2::{all, counters, http2, silent};
use super::http2_server::{Http2Server, Settings, answer};
use super::signal::Signal;
use super::{assert_settled, drop_when, get, server};

pub async fn c2_losers_are_reset_and_their_connection_lives<R: Runtime>(runtime: R) {
    const CALLS: usize = 15;
    let (never, cancelled) = silent();
    let soon = Http2Server::answering("soon");
    let channel =
        http2(&runtime, &[&soon]).backup(Duration::from_millis(1)).limits(LimitOptions::NONE).build().unwrap();
    let never_first =
        CallOptions { servers: Some(vec![server(never.address), server(soon.address)]), ..CallOptions::new() };
    for _ in 0..CALLS {
        let reply = channel.call_with(get("/"), &never_first).await.unwrap();
        assert_eq!(reply.text().unwrap(), "soon");
    }
    cancelled.reached(CALLS).await;
    assert_eq!((never.accepted.count(), soon.accepted.count()), (1, 1));
    let counters = counters(&channel);
    assert_eq!((counters.opened, counters.closed, counters.reset), (2, 0, CALLS as u64));
    assert_settled(&channel);
}

pub async fn c2_at_most_20_streams_are_reset_a_second<R: Runtime>(runtime: R) {
    const CALLS: usize = 50;
    let (never, cancelled) = silent();
    let patience = DrainOptions { timeout: Duration::from_millis(100), ..DrainOptions::DEFAULT };
    let channel = http2(&runtime, &[&never]).drain_or_close(DrainOrClose::Drain(patience)).build().unwrap();
    let first = runtime.now();
    drop_when(all((0..CALLS).map(|_| channel.call(get("/")))), never.requests.reached(CALLS)).await;
    assert!(counters(&channel).reset <= 20 || runtime.now().since(first) > Duration::from_secs(1));
    cancelled.reached(CALLS).await;
    // 20 at once, 20 a second later, and the rest after another second.
    assert!(runtime.now().since(first) >= Duration::from_secs(2));
    until(|| counters(&channel).reset == CALLS as u64).await;
    assert_eq!((never.accepted.count(), never.closed.count()), (1, 0));
}

pub async fn c2_a_connection_that_throws_much_away_takes_no_new_request<R: Runtime>(runtime: R) {
    const CALLS: usize = 300;
    let there = Http2Server::start(Settings::default(), |asked| async move {
        if asked.connection == 0 {
            std::future::pending::<()>().await;
        }
        answer(asked.respond, "text");
    });
    let patience = DrainOptions { timeout: Duration::from_millis(100), ..DrainOptions::DEFAULT };
    let channel = http2(&runtime, &[&there]).drain_or_close(DrainOrClose::Drain(patience)).build().unwrap();
    drop_when(all((0..CALLS).map(|_| channel.call(get("/")))), there.requests.reached(CALLS)).await;
    assert_eq!(channel.call(get("/")).await.unwrap().text().unwrap(), "text");
    assert_eq!(there.accepted.count(), 2);
    // Once no request on it is wanted any more, the first one is closed.
    there.closed.reached(1).await;
    // The connection's task ends a moment after the server has seen the close.
    until(|| counters(&channel).draining == 0 && counters(&channel).open() == 1).await;
    let counters = counters(&channel);
    assert_eq!(counters.reset + counters.drained, CALLS as u64);
}

pub async fn c2_losers_over_http2_cost_no_connection<R: Runtime>(runtime: R) {
    const CALLS: usize = 1_000;
    const MOST: u64 = 50;
    let answered = Signal::new();
    // It answers a request once the other server has answered as many.
    let late = Http2Server::start(Settings::default(), {
        let answered = answered.clone();
        move |mut asked| {
            let answered = answered.clone();
            async move {
                answered.reached(asked.number + 1).await;
                // An error means that the client has reset the stream.
                if let Ok(mut body) = asked.respond.send_response(Response::new(()), false) {
                    let _ = body.send_data("late".into(), true);
                }
            }
        }
    });
    let soon = Http2Server::start(Settings::default(), move |asked| {
        let answered = answered.clone();
        async move {
            answered.raise();
            answer(asked.respond, "soon");
        }
    });
    let builder = http2(&runtime, &[&soon]).backup(Duration::from_millis(1)).limits(LimitOptions::NONE);
    let channel = builder.build().unwrap();
    let late_first =
        CallOptions { servers: Some(vec![server(late.address), server(soon.address)]), ..CallOptions::new() };
    let mut backups = 0;
    for _ in 0..CALLS {
        // The server that is late may be stopped, and a connection that throws too much away takes no new request.
        until(|| counters(&channel).draining < MOST).await;
        let reply = channel.call_with(get("/"), &late_first).await.unwrap();
        backups += reply.report().backups();
    }
    assert!(backups >= CALLS * 9 / 10, "few first attempts are answered before their backups were sent: {backups}");
    until(|| counters(&channel).draining == 0).await;
    let counters = counters(&channel);
    println!("{counters:?}");
    assert_eq!((counters.opened, counters.closed), (2, 0), "{counters:?}");
    assert_eq!((late.accepted.count(), soon.accepted.count()), (1, 1));
    assert!(counters.reset + counters.drained >= backups as u64 * 9 / 10, "{counters:?}");
    assert_settled(&channel);
}

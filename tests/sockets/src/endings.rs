//! How calls end: cancelled, late, without a server, with options that cannot be.

use std::thread;
use std::time::Duration;

use hedge_net::{
    BreakerOptions, CallError, CallOptions, CancelToken, Channel, ConfigError, ErrorKind, FailureOptions, Idempotency,
    Runtime,
};

use super::server::{TestServer, ok};
use super::{assert_settled, drop_when, get, list, refused, server};

pub async fn l12_a_token_cancels_from_another_thread<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let token = CancelToken::new();
    let (arrived, other) = (there.requests.clone(), token.clone());
    let thread = thread::spawn(move || {
        arrived.block_until(1);
        other.cancel();
    });
    let options = CallOptions { cancel: Some(token.clone()), ..CallOptions::new() };
    let error = channel.call_with(get("/"), &options).await.unwrap_err();
    thread.join().unwrap();
    assert_eq!(error.kind(), "cancelled");
    assert!(token.is_cancelled());
    assert_settled(&channel);
    there.closed.reached(1).await;
}

pub async fn l12_a_token_that_was_cancelled_before_starts_nothing<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let token = CancelToken::new();
    token.cancel();
    token.cancel();
    let options = CallOptions { cancel: Some(token), ..CallOptions::new() };
    let error = channel.call_with(get("/"), &options).await.unwrap_err();
    assert!(matches!(error, CallError::Cancelled { last: None, .. }));
    assert_eq!(error.report().attempts().len(), 0);
    assert_eq!(there.accepted.count(), 0);
    assert_settled(&channel);
}

pub async fn l12_dropping_the_future_cancels<R: Runtime>(runtime: R) {
    let there = [TestServer::stalling(), TestServer::stalling()];
    let addresses = [there[0].address, there[1].address];
    let channel = list(&runtime, &addresses).backup(Duration::from_millis(1)).build().unwrap();
    let at_both = async {
        there[0].requests.reached(1).await;
        there[1].requests.reached(1).await;
        assert_eq!(addresses.map(|address| channel.in_flight(&server(address))), [1, 1]);
    };
    drop_when(channel.call(get("/")), at_both).await;
    assert_settled(&channel);
    for there in &there {
        there.closed.reached(1).await;
    }
}

pub async fn l2_the_deadline_closes_what_is_in_flight<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let options = CallOptions::new().with_timeout(Duration::from_millis(50));
    let error = channel.call_with(get("/"), &options).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { last: None, .. }), "{error}");
    assert!(error.to_string().contains("had not answered"), "{error}");
    assert!(error.report().elapsed() >= Duration::from_millis(50));
    assert_settled(&channel);
    there.closed.reached(1).await;
}

pub async fn l16_an_empty_list_and_servers_that_are_down_are_different<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[there.address]).build().unwrap();
    assert!(channel.set_usable(&server(there.address), false));
    assert!(!channel.set_usable(&server(refused()), false));
    let error = channel.call(get("/")).await.unwrap_err();
    assert!(matches!(error, CallError::AllDown { .. }), "{error}");
    assert!(channel.set_usable(&server(there.address), true));
    channel.call(get("/")).await.unwrap();
    assert_eq!(channel.set_servers(Vec::new()).unwrap().removed, 1);
    let error = channel.call(get("/")).await.unwrap_err();
    assert!(matches!(error, CallError::NoServer { .. }), "{error}");
    assert_eq!(error.kind(), "no_server");
}

pub async fn l3_options_that_a_call_cannot_hold_are_errors<R: Runtime>(runtime: R) {
    let there = TestServer::stalling();
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let too_many = CallOptions { max_retry: Some(8), ..CallOptions::new() };
    let error = channel.call_with(get("/"), &too_many).await.unwrap_err();
    let CallError::Config { error: reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason, ConfigError::TooManyAttempts { max_retry: 8, capacity: 8 });
    let too_many = CallOptions { max_backups: Some(5), ..CallOptions::new() };
    let error = channel.call_with(get("/"), &too_many).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "config: max_backups 5: must be in [0, 4], as 5 attempts with the first fit in flight"
    );
    assert_eq!(error.report().attempts().len(), 0);
    assert_eq!(there.accepted.count(), 0);
}

pub async fn l16_an_error_says_which_server_and_attempt<R: Runtime>(runtime: R) {
    let address = refused();
    let channel =
        Channel::builder(runtime, format!("{address} canary")).max_retry(1).without_health_checks().build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("failed after "), "{text}");
    assert!(text.ends_with(&format!("s: attempt 1 at {address} canary: connection refused by {address}")), "{text}");
    let last = error.report().decisive().unwrap();
    assert_eq!(error.trace().server(last).unwrap().to_string(), format!("{address} canary"));
}

/// One of three servers accepts every request and never answers.
pub async fn l21_a_server_that_hangs_fails_no_call_that_limits_its_attempts<R: Runtime>(runtime: R) {
    let hung = TestServer::stalling();
    let healthy = [TestServer::answering(|_| ok("")), TestServer::answering(|_| ok(""))];
    let channel = list(&runtime, &[hung.address, healthy[0].address, healthy[1].address])
        .circuit_breaker(BreakerOptions::ConsecutiveFailures(FailureOptions::DEFAULT))
        .attempt_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let mut late = 0;
    for _ in 0..300 {
        let reply = channel.call(get("/")).await.unwrap();
        let attempts = reply.report().attempts();
        late += attempts.iter().filter(|attempt| attempt.code() == ErrorKind::AttemptTimeout.into()).count();
        assert_ne!(reply.server().unwrap(), &server(hung.address));
    }
    assert!(late >= 5, "{late}: the server was tried, and isolated for it");
    assert_settled(&channel);
    // A call's own limit comes first, and nothing is sent again that may not be.
    let channel = list(&runtime, &[hung.address]).build().unwrap();
    let options = CallOptions {
        idempotency: Idempotency::NotIdempotent,
        ..CallOptions::new().with_attempt_timeout(Duration::from_millis(1))
    };
    let error = channel.call_with(get("/"), &options).await.unwrap_err();
    assert_eq!((error.kind(), error.report().attempts().len()), ("failed", 1), "{error}");
    assert!(error.to_string().contains("attempt timeout"), "{error}");
    assert!(error.last().is_none(), "{error}");
    assert_settled(&channel);
}

pub async fn l16_a_log_line_says_where_the_servers_are<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let channel = list(&runtime, &[refused(), there.address]).without_health_checks().build().unwrap();
    let mut lines = Vec::new();
    for _ in 0..2 {
        lines.push(channel.call(get("/")).await.unwrap().trace().to_string());
    }
    let two = lines.iter().find(|line| line.contains("by attempt 1 (retry")).unwrap();
    assert!(two.starts_with("accepted after "), "{two}");
    for server in channel.servers() {
        assert!(two.contains(&format!(" is {server}")), "{two}");
    }
}

//! The program's own code that panics.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use hedge_core::policy::Ended;
use hedge_core::time::Instant;
use hedge_net::http::{Body, HttpError, RequestBody, RequestBodyError};
use hedge_net::{
    BackupDelay, BackupPolicy, BodyMode, CallOptions, Channel, Denial, Extra, Judgement, ListError, Runtime,
};

use super::bodies::Text;
use super::health::{SOON, every, until};
use super::mortal::nobody_yet;
use super::server::{TestServer, ok, status};
use super::signal::Signal;
use super::watched::Watched;
use super::{HttpChannel, PATIENCE, assert_settled, get, list, server};

/// Without a word on standard error.
fn panics() -> ! {
    resume_unwind(Box::new("on purpose"))
}

pub async fn h1_a_check_that_panics_has_failed<R: Runtime>(runtime: R) {
    let (address, asked, looked) = (nobody_yet(), Signal::new(), Signal::new());
    let (count, may_pass) = (asked.clone(), looked.clone());
    let check = move |_| {
        let (number, may_pass) = (count.raise(), may_pass.clone());
        if number == 0 {
            panics();
        }
        async move {
            match number {
                1 | 2 => panics(),
                _ => may_pass.reached(1).await,
            }
            true
        }
    };
    let channel = list(&runtime, &[address]).health_checks(every(SOON)).health_check_with(check).build().unwrap();
    assert_eq!(channel.call(get("/")).await.unwrap_err().kind(), "failed");
    let there = TestServer::at(address, |connection| {
        while connection.request().is_some() {
            connection.send(&ok("back"));
        }
    });
    for times in 1..=3 {
        asked.reached(times).await;
        assert!(!channel.usable(&server(there.address)), "{times} checks have failed");
    }
    looked.raise();
    until(|| channel.usable(&server(there.address))).await;
    assert_eq!(asked.count(), 4);
    channel.call(get("/")).await.unwrap();
}

pub async fn a_probe_that_panics_has_no_answer<R: Runtime>(runtime: R) {
    let runtime = Watched::new(runtime);
    let there = [(); 3].map(|()| TestServer::answering(|_| ok("")));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let channel = list(&runtime, &there.each_ref().map(|there| there.address))
        .load_balancer("prequal")
        .probe_with(move |_| {
            if count.fetch_add(1, SeqCst).is_multiple_of(2) {
                panics();
            }
            async { panics() }
        })
        .build()
        .unwrap();
    for _ in 0..20 {
        channel.call(get("/")).await.unwrap();
    }
    assert!(asked.load(SeqCst) >= 20);
    assert_settled(&channel);
    drop(channel);
    runtime.ended.reached(runtime.begun.count()).await;
}

/// A policy that panics at whatever it is asked.
struct Panics;

impl BackupPolicy for Panics {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        panics()
    }

    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        panics()
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        panics()
    }

    fn take_back(&self, _: Extra, _: Instant) {
        panics()
    }

    fn ended(&self, _: &Ended<'_>) {
        panics()
    }
}

pub async fn b2_a_policy_that_panics_ends_neither_call_nor_count<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| if seen.head.contains("/broken") { status(500, "") } else { ok("text") });
    let addresses = [there.address];
    let its_own = list(&runtime, &addresses).backup_policy(Arc::new(Panics)).build().unwrap();
    let without = list(&runtime, &addresses).build().unwrap();
    let of_the_call = CallOptions { backup_policy: Some(Arc::new(Panics)), ..CallOptions::new() };
    for (channel, options) in [(&its_own, CallOptions::new()), (&without, of_the_call)] {
        let buffered = channel.call_with(get("/"), &options).await.unwrap();
        assert_eq!(buffered.body().bytes().unwrap(), "text");
        let streaming = CallOptions { body: BodyMode::Streaming, ..options.clone() };
        let reply = channel.call_with(get("/"), &streaming).await.unwrap();
        assert_eq!(channel.in_flight(&server(there.address)), 1);
        assert_eq!(reply.into_inner().into_body().collect().await.unwrap(), "text");
        assert_eq!(channel.call_with(get("/broken"), &options).await.unwrap_err().kind(), "failed");
        assert_settled(channel);
    }
    assert_eq!(its_own.latencies().count(), 3, "what is counted beside the policy is counted all the same");
}

/// Whether a future panics; it is dropped then.
async fn unwinds<F: Future>(future: F) -> bool {
    let mut future = Box::pin(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx).map(drop))) {
        Ok(poll) => poll.map(|()| false),
        Err(_) => Poll::Ready(true),
    })
    .await
}

pub async fn l20_a_caller_sees_the_panic_of_what_it_runs_and_counts_settle<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("text"));
    let judge = |_: Result<&http::Response<Body>, &HttpError>| -> Judgement { panics() };
    let channel = list(&runtime, &[there.address]).retry_policy(judge).build().unwrap();
    for body in [BodyMode::Buffered, BodyMode::Streaming] {
        let options = CallOptions { body, ..CallOptions::new() };
        assert!(unwinds(channel.call_with(get("/"), &options)).await);
        assert_settled(&channel);
    }

    // A body is an attempt's, and its panic an error of its own.
    let channel = list(&runtime, &[there.address]).build().unwrap();
    let no_body = RequestBody::factory(|| -> Text { panics() });
    let error = channel.call(http::Request::put("/").body(no_body).unwrap()).await.unwrap_err();
    assert!(matches!(error.last(), Some(Err(HttpError::RequestBody(RequestBodyError::Panicked)))), "{error}");
    assert_settled(&channel);
    assert_eq!(channel.call(get("/")).await.unwrap().body().bytes().unwrap(), "text");
}

pub async fn b2_a_policy_that_panics_refuses<R: Runtime>(runtime: R) {
    let there = TestServer::start(|connection| {
        connection.touched();
    });
    let channel = list(&runtime, &[there.address]).backup_policy(Arc::new(Panics)).build().unwrap();
    let error = channel.call(get("/")).await.unwrap_err();
    assert_eq!(error.report().attempts().len(), 1, "{error}");
    assert_eq!(channel.denied(Extra::Retry, Denial::Policy), 1);
    assert_settled(&channel);
}

pub async fn n3_a_filter_may_not_set_the_list_of_its_own_channel<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok(""));
    let within: Arc<OnceLock<HttpChannel<R>>> = Arc::default();
    let (own, refused) = (Arc::clone(&within), Signal::new());
    let count = refused.clone();
    let channel = Channel::builder(runtime, there.address.to_string())
        .timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .filter(move |server| {
            if let Some(channel) = own.get() {
                assert_eq!(channel.set_servers(vec![server.clone()]), Err(ListError::InFilter));
                count.raise();
            }
            true
        })
        .build()
        .unwrap();
    assert!(within.set(channel.clone()).is_ok());
    assert_eq!(channel.set_servers(vec![server(there.address)]).unwrap().servers, 1);
    assert_eq!(refused.count(), 1);
    channel.call(get("/")).await.unwrap();
}

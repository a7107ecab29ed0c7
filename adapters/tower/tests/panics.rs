//! Code of the program that panics, in tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use common::{Carried, Carrying, Counts, NEVER, Reports, Scripted, Step, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::outcome::{End, Judgement, NotHedged, Verdict};
use hedge_tower::hedge_core::policy::{BackupDelay, Ended};
use hedge_tower::hedge_core::time::Instant;
use hedge_tower::{
    BackupPolicy, BoxError, CallEnd, CallOptions, Change, Denial, Error, Extra, HedgeSet, Protocol, Warning,
};
use tokio::sync::mpsc;
use tower::{Layer, Service};

/// Panics without a message on standard error.
fn panics() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Polls a call to its end, and returns whether the call panics. The future is dropped after a panic.
async fn unwinds<F: Future>(call: F) -> bool {
    let mut call = Box::pin(call);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx).map(drop))) {
        Ok(poll) => poll.map(|()| false),
        Err(_) => Poll::Ready(true),
    })
    .await
}

/// A backup policy whose methods all panic.
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

#[tokio::test(start_paused = true)]
async fn b2_a_policy_that_panics_has_no_delay_and_refuses() {
    let reports = Reports::default();
    let builder = || reports.hear(builder().backup(ms(50)).backup_policy(Arc::new(Panics)));
    let mut service = builder().layer().unwrap().layer(Scripted::new(&[(100, Ok("first")), (1, Err("no"))]));
    // The delay of the layer's options applies, and the backup is refused.
    let (result, at) = call(&mut service, ()).await;
    assert_eq!((result.unwrap(), at), ("first", 100));
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::Denied(Denial::Policy)));
    assert!(matches!(call(&mut service, ()).await.0, Err(Error::Failed("no"))));
    assert_eq!(reports.only().attempts().len(), 1);
    assert_eq!([Extra::Backup, Extra::Retry].map(|extra| service.denied(extra, Denial::Policy)), [1, 1]);
    // The counts that do not depend on the policy are correct.
    assert_eq!(service.latencies().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn b2_a_policy_of_a_call_that_panics_has_no_delay_and_refuses() {
    let reports = Reports::default();
    let mut service = reports
        .hear(builder().backup(ms(50)))
        .protocol(Carried)
        .layer()
        .unwrap()
        .layer(Scripted::new(&[(100, Ok("first"))]));
    let options = || CallOptions { backup_policy: Some(Arc::new(Panics)), ..CallOptions::new() };
    let (result, at) = call(&mut service, Carrying(options())).await;
    assert_eq!((result.unwrap(), at), ("first", 100));
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::Denied(Denial::Policy)));
    // The policy is also notified of a call that is dropped, and of a call that panics.
    assert!(tokio::time::timeout(ms(10), call(&mut service, Carrying(options()))).await.is_err());
    assert_eq!(service.latencies().count(), 2);
}

#[test]
fn warnings_ask_a_policy_that_panics_nothing_more() {
    let silent = builder().backup(ms(600)).backup_policy(Arc::new(Panics));
    let warnings: Vec<Warning> = silent.warnings().into_iter().collect();
    assert!(!warnings.is_empty(), "the plain delay counts, which is above the timeout");
}

#[tokio::test(start_paused = true)]
async fn on_end_that_panics_keeps_the_answer_and_the_report() {
    /// Puts the end of the call into the response.
    #[derive(Clone, Copy)]
    struct Attaching;
    impl Protocol<(), Answer> for Attaching {
        fn copy(&self, (): &()) -> Option<()> {
            Some(())
        }
        fn attach(&self, response: &mut Answer, call: &CallEnd<'_>) {
            response.end = call.end();
        }
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let on_end = move |_: &CallEnd<'_>| {
        count.fetch_add(1, Ordering::Relaxed);
        panics()
    };
    let layer = builder().protocol(Attaching).on_end(on_end).layer().unwrap();
    let mut service = layer.layer(tower::service_fn(|()| async { Ok::<_, &str>(Answer::default()) }));
    assert_eq!(call(&mut service, ()).await.0.unwrap().end, Some(End::Accepted));
    let mut failing = layer.layer(tower::service_fn(|()| async { Err::<Answer, _>("no") }));
    assert!(matches!(call(&mut failing, ()).await.0, Err(Error::Failed("no"))));
    assert_eq!((asked.load(Ordering::Relaxed), service.latencies().count()), (2, 2));
}

#[derive(Default)]
struct Answer {
    end: Option<End>,
}

/// A policy that refuses nothing, and panics when it is notified of the end of a call. The call itself may be panicking
/// at that moment.
struct PanicsAtLast;

impl BackupPolicy for PanicsAtLast {
    fn ended(&self, _: &Ended<'_>) {
        panics()
    }
}

/// The place in a call at which code of the program panics. The request says which place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Options,
    FirstCopy,
    LaterCopy,
    Attach,
    Judge,
    Clone,
    PollReady,
    Call,
    Future,
    Nowhere,
}

impl Place {
    fn reached(self, at: Self) {
        if self == at {
            panics()
        }
    }
}

/// A request that makes a call panic at one place.
#[derive(Debug)]
struct Hostile {
    at: Place,
    copied: AtomicUsize,
}

impl Hostile {
    fn new(at: Place) -> Self {
        Self { at, copied: AtomicUsize::new(0) }
    }
}

#[derive(Clone, Copy)]
struct Panicking;

impl Protocol<Hostile, &'static str> for Panicking {
    fn copy(&self, request: &Hostile) -> Option<Hostile> {
        request.at.reached(Place::FirstCopy);
        // The layer keeps the first copy. Later copies are made of it.
        if request.copied.fetch_add(1, Ordering::Relaxed) > 0 {
            request.at.reached(Place::LaterCopy);
        }
        Some(Hostile { at: request.at, copied: AtomicUsize::new(1) })
    }

    fn options(&self, request: &Hostile) -> CallOptions {
        request.at.reached(Place::Options);
        CallOptions { backup_policy: Some(Arc::new(PanicsAtLast)), ..CallOptions::new() }
    }

    fn attach(&self, response: &mut &'static str, _: &CallEnd<'_>) {
        if *response == "attach" {
            panics();
        }
    }
}

/// A service that panics at the place that the request names.
struct Fragile {
    service: Scripted,
    at: Place,
    /// The result of the first attempt.
    attach: bool,
}

impl Fragile {
    fn new(at: Place, steps: &[Step]) -> (Self, Arc<Counts>) {
        let service = Scripted::new(steps);
        let counts = service.counts();
        (Self { service, at, attach: at == Place::Attach }, counts)
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        self.at.reached(Place::Clone);
        Self { service: self.service.clone(), at: self.at, attach: self.attach }
    }
}

impl Service<Hostile> for Fragile {
    type Response = &'static str;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, &'static str>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.at.reached(Place::PollReady);
        Service::<Hostile>::poll_ready(&mut self.service, cx)
    }

    fn call(&mut self, request: Hostile) -> Self::Future {
        self.at.reached(Place::Call);
        let (answer, at, attach) = (self.service.call(request), self.at, self.attach);
        Box::pin(async move {
            let answer = answer.await;
            at.reached(Place::Future);
            if attach { Ok("attach") } else { answer }
        })
    }
}

fn judge(at: Place) -> impl Fn(Result<&&'static str, &&'static str>) -> Judgement {
    move |result| {
        at.reached(Place::Judge);
        if result.is_ok() { Verdict::Accept.into() } else { Verdict::Retry.into() }
    }
}

const PLACES: [Place; 9] = [
    Place::Options,
    Place::FirstCopy,
    Place::LaterCopy,
    Place::Attach,
    Place::Judge,
    Place::Clone,
    Place::PollReady,
    Place::Call,
    Place::Future,
];

/// The result of the first attempt for a panic at this place. If only a further attempt reaches the place, the first
/// attempt has to fail.
fn steps(at: Place) -> [Step; 1] {
    [(1, if at == Place::LaterCopy { Err("no") } else { Ok("yes") })]
}

#[tokio::test(start_paused = true)]
async fn l20_a_sets_caller_sees_the_panic_and_every_count_settles() {
    for at in PLACES {
        let set: HedgeSet<u16, Fragile, Tokio, _, _> =
            builder().protocol(Panicking).retry_policy(judge(at)).load_balancer("la").set().unwrap();
        let (service, counts) = Fragile::new(at, &steps(at));
        set.insert(1, service).unwrap();
        for _ in 0..3 {
            assert!(unwinds(set.clone().call(Hostile::new(at))).await, "{at:?}");
            assert_eq!((set.in_flight(&1), counts.get().1), (0, 0), "{at:?}");
            assert!(set.usable(&1), "{at:?}");
        }
        // A call is recorded only if it had begun before the panic.
        let begun = !matches!(at, Place::Options | Place::FirstCopy);
        assert_eq!(set.latencies().count(), if begun { 3 } else { 0 }, "{at:?}");
        // The service is replaced, and the set serves calls that do not panic.
        if at != Place::Judge {
            set.insert(1, Fragile::new(Place::Nowhere, &[(1, Ok("yes"))]).0).unwrap();
            let (result, _) = call(&mut set.clone(), Hostile::new(Place::Nowhere)).await;
            assert_eq!(result.unwrap(), "yes", "{at:?}");
            assert_eq!(set.in_flight(&1), 0, "{at:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn l20_a_layers_caller_sees_the_panic_and_the_layer_goes_on() {
    for at in PLACES {
        let layer = builder().protocol(Panicking).retry_policy(judge(at)).layer().unwrap();
        let (service, counts) = Fragile::new(at, &steps(at));
        let mut service = layer.layer(service);
        for _ in 0..3 {
            assert!(unwinds(call(&mut service, Hostile::new(at))).await, "{at:?}");
            assert_eq!(counts.get().1, 0, "{at:?}");
        }
        // A first attempt uses the instance that was polled ready. The poll and the clone happen before the call
        // begins.
        let begun = !matches!(at, Place::Options | Place::FirstCopy | Place::Clone | Place::PollReady);
        assert_eq!(service.latencies().count(), if begun { 3 } else { 0 }, "{at:?}");
        if at != Place::Judge {
            let mut other = layer.layer(Fragile::new(Place::Nowhere, &[(1, Ok("yes"))]).0);
            assert_eq!(call(&mut other, Hostile::new(Place::Nowhere)).await.0.unwrap(), "yes", "{at:?}");
        }
    }
}

/// A backup that panics ends its call. The first attempt is dropped too, so its server no longer counts it.
#[tokio::test(start_paused = true)]
async fn l20_a_panic_of_one_attempt_settles_the_others() {
    let set: HedgeSet<u16, Fragile, Tokio, _, _> = builder().protocol(NoPolicyOfItsOwn).backup(ms(50)).set().unwrap();
    let mut counts = Vec::new();
    for (key, at) in [(1, Place::Nowhere), (2, Place::Future)] {
        let (service, count) = Fragile::new(at, &[(if key == 1 { NEVER } else { 1 }, Ok("yes"))]);
        set.insert(key, service).unwrap();
        counts.push(count);
    }
    let mut both = 0;
    for _ in 0..4 {
        assert!(unwinds(set.clone().call(Hostile::new(Place::Nowhere))).await);
        assert_eq!([1, 2].map(|key| set.in_flight(&key)), [0; 2]);
        both += usize::from(counts[0].get().0 > 0);
        assert_eq!(counts.iter().map(|count| count.get().1).sum::<usize>(), 0);
    }
    assert!(both > 0);
}

#[derive(Clone, Copy)]
struct NoPolicyOfItsOwn;

impl Protocol<Hostile, &'static str> for NoPolicyOfItsOwn {
    fn copy(&self, request: &Hostile) -> Option<Hostile> {
        Some(Hostile::new(request.at))
    }
}

/// A key whose `Display` panics for one value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key(u16);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 13 { panics() } else { self.0.fmt(f) }
    }
}

#[tokio::test(start_paused = true)]
async fn s5_a_key_that_panics_changes_nothing() {
    let set: HedgeSet<Key, Scripted, Tokio> = builder().load_balancer("c_murmurhash").set().unwrap();
    let new = || Scripted::new(&[(1, Ok("yes"))]);
    set.insert(Key(1), new()).unwrap();
    let bad = || set.apply([Change::Remove(Key(1)), Change::Insert(Key(13), new())]);
    assert!(catch_unwind(AssertUnwindSafe(bad)).is_err());
    assert_eq!((set.len(), set.in_flight(&Key(1)), set.usable(&Key(1))), (1, 0, true));
    set.insert(Key(2), new()).unwrap();
    assert_eq!(set.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_changes_that_panics_loses_no_change() {
    let (changes, mut said) = mpsc::unbounded_channel();
    let stream = stream_of(move |cx: &mut Context<'_>| match said.poll_recv(cx) {
        Poll::Ready(Some(0)) => panics(),
        Poll::Ready(Some(key)) => {
            Poll::Ready(Some(Ok::<_, BoxError>(Change::Insert(key, Scripted::new(&[(1, Ok("yes"))])))))
        }
        Poll::Ready(None) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let set: HedgeSet<u16, Scripted, Tokio> = builder().set().unwrap();
    let mut following = set.follow(stream);
    for key in [1, 0, 2] {
        changes.send(key).unwrap();
    }
    assert!(unwinds(poll_fn(|cx| Service::<()>::poll_ready(&mut following, cx))).await);
    assert_eq!(following.set().len(), 0);
    poll_fn(|cx| Service::<()>::poll_ready(&mut following, cx)).await.unwrap();
    assert_eq!(following.set().len(), 2);
    assert_eq!(call(&mut following, ()).await.0.unwrap(), "yes");
}

/// A stream that is made of a closure.
fn stream_of<F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin, T>(poll: F) -> impl futures_core::Stream<Item = T> {
    struct PollFn<F>(F);
    impl<T, F: FnMut(&mut Context<'_>) -> Poll<Option<T>> + Unpin> futures_core::Stream for PollFn<F> {
        type Item = T;
        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
            (self.0)(cx)
        }
    }
    PollFn(poll)
}

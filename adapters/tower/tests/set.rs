//! A service for each server, in tokio's paused time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{NEVER, Reports, Scripted, Step, builder, call, ms};
use hedge_tokio::Tokio;
use hedge_tower::hedge_core::outcome::{End, Kind, NotHedged};
use hedge_tower::hedge_core::policy::RetryTarget;
use hedge_tower::{
    Along, AlongOptions, AttemptInfo, CallOptions, Change, Error, HedgeSet, IdempotencyKey, Protocol, ServerRef,
};
use tokio::sync::mpsc;
use tower::{BoxError, Service, ServiceExt};

type Set = HedgeSet<u16, Scripted, Tokio>;

/// A set of servers, with a backup after 50 ms. All attempts at server `i` take the step `servers[i]`.
fn set_of(reports: &Reports, servers: &[Step]) -> Set {
    let set: Set = reports.hear(builder().backup(ms(50))).set().unwrap();
    for (key, step) in (0..).zip(servers) {
        set.insert(key, Scripted::new(&[*step])).unwrap();
    }
    set
}

/// The response of a call, and after how many milliseconds it comes.
async fn answer(
    service: &mut impl Service<(), Response = &'static str, Error: std::fmt::Debug>,
) -> (&'static str, u128) {
    let (result, at) = call(service, ()).await;
    (result.unwrap(), at)
}

fn in_flight(set: &Set) -> Vec<u32> {
    (0..3).map(|key| set.in_flight(&key)).collect()
}

#[tokio::test(start_paused = true)]
async fn l11_retries_and_backups_go_to_other_servers() {
    let reports = Reports::default();
    // Only one server answers well. Every call ends with its answer, whichever server is tried first.
    let mut set = set_of(&reports, &[(1, Err("no")), (NEVER, Ok("late")), (5, Ok("yes"))]);
    for _ in 0..3 {
        assert_eq!(call(&mut set, ()).await.0.unwrap(), "yes");
        let report = reports.only();
        let mut tried: Vec<_> = report.attempts().iter().map(|attempt| attempt.server()).collect();
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), report.attempts().len(), "no server twice");
    }
    assert_eq!(in_flight(&set), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn f_a_retry_at_the_same_server_stays_there() {
    let options =
        hedge_tower::hedge_core::policy::ChannelOptions { retry_target: RetryTarget::Same, ..Default::default() };
    let mut set = builder().options(options).set().unwrap();
    for key in [1, 2] {
        set.insert(key, Scripted::new(&[(1, Err("no")), (1, Ok("yes"))])).unwrap();
    }
    assert_eq!(answer(&mut set).await, ("yes", 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_ready_is_slow_and_its_backup_goes_elsewhere() {
    let mut set: Set = builder().backup(ms(50)).set().unwrap();
    set.insert(1, Scripted::new(&[(1, Ok("one"))]).unready_for(NEVER)).unwrap();
    set.insert(2, Scripted::new(&[(1, Ok("two"))])).unwrap();
    let mut slow = 0;
    for _ in 0..3 {
        let (text, at) = answer(&mut set).await;
        assert!(text == "two" && (at == 1 || at == 51), "{text} at {at}");
        slow += usize::from(at == 51);
    }
    assert!(slow > 0);
}

#[tokio::test(start_paused = true)]
async fn l16_an_empty_set_and_one_that_is_down_are_different_errors() {
    let reports = Reports::default();
    let mut set = set_of(&reports, &[]);
    assert!(matches!(call(&mut set, ()).await.0, Err(Error::NoServer)));
    assert_eq!(reports.only().end(), Some(End::NoServer));
    set.insert(7, Scripted::new(&[(1, Ok("yes"))])).unwrap();
    assert!(set.set_usable(&7, false) && !set.set_usable(&8, false));
    assert!(matches!(call(&mut set, ()).await.0, Err(Error::AllDown)));
    set.set_usable(&7, true);
    assert_eq!(answer(&mut set).await.0, "yes");
}

#[tokio::test(start_paused = true)]
async fn l4_a_set_of_one_server_is_not_hedged_but_retried() {
    let reports = Reports::default();
    let mut set = set_of(&reports, &[(100, Ok("yes"))]);
    assert_eq!(answer(&mut set).await, ("yes", 100));
    assert_eq!(reports.only().not_hedged(), Some(NotHedged::NoOtherServer));
    set.insert(0, Scripted::new(&[(1, Err("no")), (1, Ok("replaced"))])).unwrap();
    assert_eq!(answer(&mut set).await, ("replaced", 2));
}

#[tokio::test(start_paused = true)]
async fn l20_what_a_removed_server_works_on_goes_on() {
    let reports = Reports::default();
    let mut set = set_of(&reports, &[(40, Ok("yes"))]);
    let one = set.call(());
    let one = tokio::spawn(one);
    tokio::time::sleep(ms(10)).await;
    assert_eq!(in_flight(&set), [1, 0, 0]);
    // A server that is inserted again under this key is a new server. It does not have the attempts of the old one.
    assert!(set.remove(0) && !set.remove(0));
    set.insert(0, Scripted::new(&[(1, Ok("new"))])).unwrap();
    assert_eq!(in_flight(&set), [0; 3]);
    assert!(matches!(one.await.unwrap(), Ok("yes")));
    assert_eq!(in_flight(&set), [0; 3]);
    assert_eq!(answer(&mut set).await.0, "new");
}

#[tokio::test(start_paused = true)]
async fn l20_a_retry_does_not_go_to_a_server_that_has_left() {
    let reports = Reports::default();
    let mut set = set_of(&reports, &[(20, Err("no")), (20, Err("no"))]);
    let one = tokio::spawn(set.call(()));
    tokio::time::sleep(ms(10)).await;
    assert_eq!(set.apply([Change::Remove(0), Change::Remove(1)]), Ok(2));
    assert!(matches!(one.await.unwrap(), Err(Error::Failed("no"))));
    assert_eq!(reports.only().attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn l13_a_dropped_call_settles_every_count() {
    let reports = Reports::default();
    let mut set = set_of(&reports, &[(NEVER, Ok("a")), (NEVER, Ok("b")), (NEVER, Ok("c"))]);
    let pending = tokio::spawn(set.call(()));
    tokio::time::sleep(ms(60)).await;
    assert_eq!(in_flight(&set).iter().sum::<u32>(), 2);
    pending.abort();
    assert!(pending.await.unwrap_err().is_cancelled());
    assert_eq!(in_flight(&set), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn s1_a_set_takes_any_balancer() {
    let mut set = builder().load_balancer("random").set().unwrap();
    let services: Vec<_> = (0..3).map(|_| Scripted::new(&[(1, Ok("yes"))])).collect();
    set.apply((0..).zip(&services).map(|(key, service)| Change::Insert(key, service.clone()))).unwrap();
    for _ in 0..60 {
        call(&mut set, ()).await.0.unwrap();
    }
    assert!(services.iter().all(|service| service.counts().get().0 > 5));
}

/// A stream of changes that the test sends through a channel.
struct Changes(mpsc::UnboundedReceiver<Result<Change<u16, Scripted>, BoxError>>);

impl futures_core::Stream for Changes {
    type Item = Result<Change<u16, Scripted>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_follows_a_stream_of_changes() {
    let (changes, stream) = mpsc::unbounded_channel();
    let mut service = builder().set().unwrap().follow(Changes(stream));
    let set: Set = service.set().clone();
    let yes = |text| Scripted::new(&[(1, Ok(text))]);

    assert!(tokio::time::timeout(ms(10), ServiceExt::<()>::ready(&mut service)).await.is_err(), "empty: not ready");
    let sender = changes.clone();
    tokio::spawn(async move {
        tokio::time::sleep(ms(5)).await;
        sender.send(Ok(Change::Insert(1, yes("one")))).unwrap();
    });
    assert_eq!(answer(&mut service).await, ("one", 6));

    changes.send(Ok(Change::Insert(2, yes("two")))).unwrap();
    changes.send(Ok(Change::Remove(1))).unwrap();
    assert_eq!(answer(&mut service).await.0, "two");
    assert_eq!(set.len(), 1);

    changes.send(Ok(Change::Insert(3, yes("three")))).unwrap();
    changes.send(Err("lost".into())).unwrap();
    let error = call(&mut service, ()).await.0.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), ("discover", "discover: lost".into()));
    assert_eq!(set.len(), 2, "what came before the error counts");

    changes.send(Ok(Change::Remove(2))).unwrap();
    drop(changes);
    for _ in 0..2 {
        assert_eq!(answer(&mut service).await.0, "three");
    }
}

/// A stream of changes that are all ready.
struct AtOnce(std::ops::Range<u16>);

impl futures_core::Stream for AtOnce {
    type Item = Result<Change<u16, Scripted>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(|key| Ok(Change::Insert(key, Scripted::new(&[(1, Ok("yes"))])))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_much_is_taken_in_bit_by_bit() {
    let mut service = builder().set().unwrap().follow(AtOnce(0..3_000));
    for expected in [1_024, 2_048, 3_000, 3_000] {
        answer(&mut service).await;
        assert_eq!(service.set().len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ended_leaves_an_empty_set_ready_to_fail() {
    let (changes, stream) = mpsc::unbounded_channel();
    drop(changes);
    let mut service = builder().set().unwrap().follow(Changes(stream));
    assert!(matches!(call(&mut service, ()).await.0, Err(Error::NoServer)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_share_a_set_that_changes_under_them() {
    // The time is real here, and a thread may be stopped for long.
    let set: Set = builder().timeout(Duration::from_secs(60)).backup(ms(50)).set().unwrap();
    for (key, step) in (0..).zip([(1, Ok("a")), (1, Ok("b")), (1, Err("c"))]) {
        set.insert(key, Scripted::new(&[step])).unwrap();
    }
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let mut set = set.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    assert!(call(&mut set, ()).await.0.is_ok());
                }
            })
        })
        .collect();
    for round in 0..100 {
        set.insert(10 + round % 3, Scripted::new(&[(1, Ok("more"))])).unwrap();
        tokio::task::yield_now().await;
        set.remove(10 + (round + 1) % 3);
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(in_flight(&set), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn on_end_is_told_the_keys() {
    type Told = (Option<End>, Option<u16>, Vec<u16>);
    let told = Arc::new(Mutex::new(Vec::<Told>::new()));
    let heard = Arc::clone(&told);
    let builder = builder().backup(ms(50)).on_end(move |call| {
        assert_eq!(call.winner_key::<u32>(), None, "another type");
        assert_eq!(call.winner_server(), None, "another type");
        let tried = call.attempts().iter().map(|attempt| *call.key::<u16>(attempt.server()).unwrap()).collect();
        heard.lock().unwrap().push((call.end(), call.winner_key().copied(), tried));
    });
    let mut set: Set = builder.set().unwrap();
    for (key, step) in [(7, (NEVER, Ok("late"))), (9, (1, Ok("yes")))] {
        set.insert(key, Scripted::new(&[step])).unwrap();
    }
    let mut hedged = 0;
    for _ in 0..4 {
        let (_, at) = answer(&mut set).await;
        let (end, winner, tried) = told.lock().unwrap().pop().unwrap();
        assert_eq!((end, winner), (Some(End::Accepted), Some(9)));
        assert_eq!(tried, if at > 1 { vec![7, 9] } else { vec![9] });
        hedged += usize::from(at > 1);
    }
    assert_eq!(hedged, 2);

    // The server is removed while the call's attempt is in flight there (L20).
    set.remove(7);
    let pending = tokio::spawn(set.call(()));
    tokio::task::yield_now().await;
    assert!(set.remove(9));
    assert_eq!(pending.await.unwrap().unwrap(), "yes");
    assert_eq!(told.lock().unwrap().pop(), Some((Some(End::Accepted), Some(9), vec![9])));

    assert!(matches!(call(&mut set, ()).await.0, Err(Error::NoServer)));
    assert_eq!(told.lock().unwrap().pop(), Some((Some(End::NoServer), None, vec![])));
    set.insert(7, Scripted::new(&[(NEVER, Ok("late"))])).unwrap();
    assert!(tokio::time::timeout(ms(10), set.call(())).await.is_err());
    assert_eq!(told.lock().unwrap().len(), 0, "nothing of a call that was dropped");
}

/// What an attempt got: its kind, the log id, the key, and the first attempt's server.
type Told = (Kind, Option<u64>, Option<IdempotencyKey>, Option<u16>);

/// Writes down what goes along with each attempt.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Told>>>);

impl<Response> Protocol<(), Response> for Writes {
    fn copy(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn options(&self, (): &()) -> CallOptions {
        let along = AlongOptions { log_id: Some(7), ..AlongOptions::default() };
        CallOptions { along: Some(Box::new(along)), ..CallOptions::new() }
    }

    fn prepare_along(&self, (): &mut (), attempt: &AttemptInfo<()>, along: Along<'_, ServerRef<'_>>) {
        let first = along.first_server().and_then(|server| server.key::<u16>().copied());
        self.0.lock().unwrap().push((attempt.kind, along.log_id(), along.key(), first));
    }

    fn wants_key(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn w3_a_protocol_is_told_what_goes_along_with_each_attempt() {
    let writes = Writes::default();
    let mut set: HedgeSet<u16, Scripted, Tokio, _, Writes> =
        builder().backup(ms(50)).protocol(writes.clone()).set().unwrap();
    for key in [1, 2] {
        set.insert(key, Scripted::new(&[(60, Ok("late"))])).unwrap();
    }
    let mut keys = Vec::new();
    for call in [1, 2] {
        assert_eq!(answer(&mut set).await.0, "late");
        let told = std::mem::take(&mut *writes.0.lock().unwrap());
        let [(Kind::First, Some(7), key, None), (Kind::Backup, Some(7), same, Some(of))] = told[..] else {
            panic!("{told:?}")
        };
        assert!([1, 2].contains(&of) && key.is_some() && key == same, "{call}: {told:?}");
        keys.push(key);
    }
    assert_ne!(keys[0], keys[1]);
}

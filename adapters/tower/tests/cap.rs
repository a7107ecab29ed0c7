//! A cap on the attempts in flight at each server of a set (L22), in tokio's paused time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::Arc;

use common::{Counts, Scripted, builder, call, ms};
use hedge_core::outcome::End;
use hedge_tokio::Tokio;
use hedge_tower::{Builder, Change, Error, HedgeSet, hedge_core};

type Set = HedgeSet<u16, Scripted, Tokio>;

/// Two servers, each of which answers after 10 ms.
fn two(builder: Builder<Tokio>) -> (Set, [Arc<Counts>; 2]) {
    let set: Set = builder.max_retry(0).timeout(ms(100)).set().unwrap();
    let servers = [(); 2].map(|()| Scripted::new(&[(10, Ok("yes"))]));
    let counts = [servers[0].counts(), servers[1].counts()];
    set.apply((0..).zip(servers).map(|(key, server)| Change::Insert(key, server))).unwrap();
    (set, counts)
}

/// Starts this many calls together. Returns how each call ended, and after how many milliseconds.
async fn calls(set: &Set, count: usize) -> Vec<(Result<&'static str, Error<&'static str>>, u128)> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let mut set = set.clone();
            tokio::spawn(async move { call(&mut set, ()).await })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.unwrap());
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn l22_where_all_servers_are_full_a_call_ends_at_once() {
    let (set, counts) = two(builder().max_in_flight_per_server(1));
    let ended = calls(&set, 3).await;
    assert!(ended[..2].iter().all(|(result, at)| result.is_ok() && *at == 10));
    let (result, at) = &ended[2];
    assert!(matches!(result, Err(Error::AllFull)) && *at == 0);
    assert_eq!(result.as_ref().unwrap_err().to_string(), End::AllFull.to_string().replace("servers", "servers are"));
    assert_eq!(counts.map(|counts| counts.get()), [(1, 0); 2]);
    assert!(set.usable(&0) && set.usable(&1));
}

#[tokio::test(start_paused = true)]
async fn l22_calls_wait_in_the_queue_of_a_set() {
    let (set, counts) = two(builder().max_in_flight_per_server(1).max_queued_calls(4));
    let ended = calls(&set, 7).await;
    let at: Vec<_> = ended.iter().map(|(result, at)| (result.is_ok(), *at)).collect();
    let (yes, full) = (true, (false, 0));
    assert_eq!(at, [(yes, 10), (yes, 10), (yes, 20), (yes, 20), (yes, 30), (yes, 30), full]);
    assert_eq!(counts.map(|counts| counts.get()), [(3, 0); 2]);
    assert_eq!((set.queued_calls(), set.in_flight(&0), set.in_flight(&1)), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn l22_the_longest_wait_of_a_set_ends_the_wait() {
    let (set, _) = two(builder().max_in_flight_per_server(1).max_queued_calls(4).max_queue_wait(ms(7)));
    let ended = calls(&set, 3).await;
    assert!(matches!(ended[2], (Err(Error::AllFull), 7)), "{:?}", ended[2]);
}

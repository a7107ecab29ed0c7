//! Handles, joins, and calls that are started together.

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;

use hedge_compose::{Ended, Handle, JoinError, WayError, join_all};
use hedge_core::outcome::End;

use crate::board::Board;
use crate::service::Does::Answers;
use crate::service::ways;

#[test]
fn w1_eight_threads_join_a_call_before_it_starts_and_another_cancels_it() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let call = ways.call(vec![Answers(90)]);
    let handle = call.handle();
    let joins: Vec<_> = (0..8)
        .map(|_| {
            let handle = handle.clone();
            thread::spawn(move || handle.join())
        })
        .collect();
    let (result, results) = mpsc::channel();
    call.callback(move |got| result.send(got).unwrap());
    board.at(0);
    board.at(10);
    assert_eq!(handle.ended(), None);
    let cancels = handle.clone();
    thread::spawn(move || cancels.cancel()).join().unwrap();
    board.at(10);
    for join in joins {
        assert_eq!(join.join().unwrap(), Ok(Ended::Completed));
    }
    let Err(WayError::Call(failure)) = results.recv().unwrap() else { panic!("a cancelled call has a reply") };
    assert_eq!(failure.end, End::Cancelled);
}

#[test]
fn w1_calls_that_were_started_together_are_joined_in_order() {
    let board = Board::default();
    let ways = ways(&board, 1);
    // The first is the slowest.
    let calls: Vec<_> = (0..5).map(|number| ways.call(vec![Answers(50 - 10 * number)]).start()).collect();
    let joined = thread::spawn(move || join_all(calls));
    (0..=50).for_each(|millis| board.at(millis));
    let elapsed: Vec<_> =
        joined.join().unwrap().into_iter().map(|got| got.unwrap().trace.elapsed().as_millis()).collect();
    assert_eq!(elapsed, [50, 40, 30, 20, 10]);
}

#[test]
fn w1_a_handle_exists_before_the_start_and_has_a_number_of_its_own() {
    let ways = ways(&Board::default(), 1);
    let calls: Vec<_> = (0..10).map(|_| ways.call(vec![Answers(0)])).collect();
    let handles: Vec<Handle> = calls.iter().map(|call| call.handle()).collect();
    for (index, handle) in handles.iter().enumerate() {
        assert_eq!(handle.ended(), None);
        assert!(handles[..index].iter().all(|other| other.id() < handle.id()));
    }
    let (handle, text) = (&handles[0], handles[0].id().to_string());
    assert_eq!(format!("{handle:?}"), format!("Handle {{ id: HandleId({text}), ended: None, .. }}"));
}

#[test]
fn w1_a_call_that_is_dropped_before_it_starts_ends_as_dropped() {
    let ways = ways(&Board::default(), 1);
    let call = ways.call(vec![Answers(0)]);
    let handle = call.handle();
    let join = {
        let handle = handle.clone();
        thread::spawn(move || handle.join())
    };
    drop(call);
    assert_eq!(join.join().unwrap(), Ok(Ended::Dropped));
    assert_eq!(handle.ended(), Some(Ended::Dropped));
}

#[test]
fn w1_the_async_way_has_a_handle_too() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let mut cx = Context::from_waker(Waker::noop());
    for drops in [false, true] {
        board.clock.set(0);
        let call = ways.call(vec![Answers(5)]);
        let handle = call.handle();
        {
            let mut call = pin!(call.run());
            assert!(call.as_mut().poll(&mut cx).is_pending());
            if !drops {
                board.clock.set(5);
                assert!(call.as_mut().poll(&mut cx).is_ready());
            }
        }
        assert_eq!(handle.join(), Ok(if drops { Ended::Dropped } else { Ended::Completed }));
    }
    // The handle cancels it.
    let call = ways.call(vec![Answers(90)]);
    let handle = call.handle();
    let mut call = pin!(call.run());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    handle.cancel();
    let std::task::Poll::Ready(Err(failure)) = call.as_mut().poll(&mut cx) else { panic!("it was cancelled") };
    assert_eq!(failure.end, End::Cancelled);
}

#[test]
fn w1_a_task_of_the_runtime_must_not_wait_but_may_join_what_has_ended() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let ended = ways.call(vec![Answers(0)]).start();
    board.at(0);
    let (result, results) = mpsc::channel();
    let pending = ways.call(vec![Answers(5)]);
    let (pending, waits, own) = (pending.handle(), pending, ways.clone());
    hedge_fleet::Spawn::spawn(&board, async move {
        assert!(ended.join().is_ok());
        assert_eq!(pending.join(), Err(JoinError::AsyncContext));
        assert!(matches!(waits.wait(), Err(WayError::AsyncContext)));
        assert_eq!(pending.join(), Ok(Ended::Dropped), "nothing was started");
        assert!(matches!(own.call(vec![Answers(5)]).start().join(), Err(WayError::AsyncContext)));
        result.send(()).unwrap();
    });
    board.at(0);
    results.recv().unwrap();
}

#[test]
fn w1_a_started_call_runs_on_without_its_owner() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let started = ways.call(vec![Answers(5)]).start();
    let handle = started.handle().clone();
    drop(started);
    (0..=5).for_each(|millis| board.at(millis));
    assert_eq!(handle.join(), Ok(Ended::Completed));
}

#[test]
fn w1_errors_say_what_to_do() {
    let error = WayError::<std::fmt::Error>::AsyncContext.to_string();
    assert_eq!(error, JoinError::AsyncContext.to_string());
    assert!(error.contains("await the call, or wait on a thread for blocking work"), "{error}");
    assert!(JoinError::OwnCallback.to_string().contains("inside its own callback"));
    assert!(WayError::<std::fmt::Error>::Panicked.into_call().is_none());
    assert_eq!(WayError::Call(std::fmt::Error).to_string(), std::fmt::Error.to_string());
}

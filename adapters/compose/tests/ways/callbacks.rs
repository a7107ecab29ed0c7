//! Callbacks: where they run, and what may happen inside one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use hedge_compose::{Ended, Handle, JoinError, WayError};

use crate::board::Board;
use crate::service::Does::{Answers, Refuses};
use crate::service::{counted_ways, ways};

#[test]
fn w1_a_callback_never_runs_inside_the_call() {
    // The three calls that end soonest: no server, a refusal at once, and no runtime.
    for (servers, ends) in [(0, false), (1, false), (1, true)] {
        for inline in [false, true] {
            let board = Board::default();
            let ways = ways(&board, servers);
            if ends {
                board.end();
            }
            let own = thread::current().id();
            // The callback needs this lock, so inside the call it would hang.
            let lock = Arc::new(Mutex::new(()));
            let (result, results) = mpsc::channel();
            let guard = lock.lock().unwrap();
            let call = ways.call(vec![Refuses(0)]);
            let needed = Arc::clone(&lock);
            let callback = move |got: crate::service::Result| {
                drop(needed.lock().unwrap());
                result.send((thread::current().id(), got.is_err())).unwrap();
            };
            let handle = if inline { call.callback_inline(callback) } else { call.callback(callback) };
            assert_eq!(handle.ended(), None);
            drop(guard);
            board.at(0);
            let (thread, failed) = results.recv().unwrap();
            assert!(failed);
            assert_eq!(thread == own, inline && !ends, "a callback inside the runtime's poll, or on the pool");
            assert_eq!(handle.join(), Ok(Ended::Completed));
        }
    }
}

#[test]
fn w1_join_returns_after_the_callback_has_returned() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let returned = Arc::new(AtomicBool::new(false));
    let (begun, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let own = Arc::clone(&returned);
    let handle = ways.call(vec![Answers(0)]).callback(move |_| {
        begun.send(()).unwrap();
        goes.recv().unwrap();
        own.store(true, Ordering::Relaxed);
    });
    let joins: Vec<_> = (0..8)
        .map(|_| {
            let (handle, returned) = (handle.clone(), Arc::clone(&returned));
            thread::spawn(move || {
                let ended = handle.join();
                assert!(returned.load(Ordering::Relaxed));
                ended
            })
        })
        .collect();
    board.at(0);
    begins.recv().unwrap();
    assert_eq!(handle.ended(), None, "the call has a result, and its callback runs");
    go.send(()).unwrap();
    for join in joins {
        assert_eq!(join.join().unwrap(), Ok(Ended::Completed));
    }
    assert_eq!(handle.ended(), Some(Ended::Completed));
}

#[test]
fn w1_join_inside_the_own_callback_is_an_error() {
    for inline in [false, true] {
        let board = Board::default();
        let call = ways(&board, 1).call(vec![Answers(0)]);
        let (own, (result, results)) = (call.handle(), mpsc::channel());
        let callback = move |_| result.send(own.join()).unwrap();
        let handle = if inline { call.callback_inline(callback) } else { call.callback(callback) };
        board.at(0);
        assert_eq!(results.recv().unwrap(), Err(JoinError::OwnCallback));
        assert_eq!(handle.join(), Ok(Ended::Completed));
    }
}

#[test]
fn w1_a_callback_that_panics_is_caught_and_joiners_are_told() {
    for inline in [false, true] {
        let board = Board::default();
        let ways = ways(&board, 1);
        // More often than the pool has threads.
        for _ in 0..8 {
            let call = ways.call(vec![Answers(0)]);
            let callback = |_| panic!("a panic of a callback, which this test wants");
            let handle = if inline { call.callback_inline(callback) } else { call.callback(callback) };
            let joins = [0; 2].map(|_| {
                let handle = handle.clone();
                thread::spawn(move || handle.join())
            });
            board.at(0);
            for join in joins {
                assert_eq!(join.join().unwrap(), Ok(Ended::CallbackPanicked));
            }
        }
        let (result, results) = mpsc::channel();
        ways.call(vec![Answers(0)]).callback(move |got| result.send(got.is_ok()).unwrap());
        board.at(0);
        assert!(results.recv().unwrap(), "the pool goes on");
    }
}

#[test]
fn w1_a_callback_may_call_again() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let (result, results) = mpsc::channel();
    let again = ways.clone();
    let first = ways.call(vec![Answers(1)]).callback(move |got| {
        assert!(got.is_ok());
        // In all ways: blocking, semi-synchronous, and by another callback.
        assert!(again.call(vec![Answers(1)]).wait().is_ok());
        assert!(again.call(vec![Answers(1)]).start().join().is_ok());
        again.call(vec![Answers(1)]).callback(move |got| result.send(got.is_ok()).unwrap());
    });
    board.at(0);
    for number in 1..=3 {
        board.at(number);
        board.spawned(usize::try_from(number).unwrap() + 1);
        board.at(number);
    }
    board.at(4);
    assert!(results.recv().unwrap());
    assert_eq!(first.join(), Ok(Ended::Completed));
}

#[test]
fn w1_an_inline_callback_may_call_again_and_must_not_wait() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let (result, results) = mpsc::channel();
    let again = ways.clone();
    ways.call(vec![Answers(1)]).callback_inline(move |_| {
        assert!(matches!(again.call(vec![Answers(1)]).wait(), Err(WayError::AsyncContext)));
        let other = again.call(vec![Answers(1)]).callback_inline(move |got| result.send(got.is_ok()).unwrap());
        assert_eq!(other.join(), Err(JoinError::AsyncContext));
    });
    (0..=2).for_each(|millis| board.at(millis));
    assert!(results.recv().unwrap());
}

#[test]
fn w1_the_last_channel_may_be_dropped_inside_a_callback() {
    for inline in [false, true] {
        let board = Board::default();
        let (ways, channels) = counted_ways(&board, 1);
        let call = ways.call(vec![Answers(0)]);
        let (result, results) = mpsc::channel();
        let count = Arc::clone(&channels);
        let callback = move |_| {
            drop(ways);
            result.send(count.load(Ordering::SeqCst)).unwrap();
        };
        let handle = if inline { call.callback_inline(callback) } else { call.callback(callback) };
        board.at(0);
        assert_eq!(results.recv().unwrap(), 0, "the channel is gone when the drop returns");
        assert_eq!(handle.join(), Ok(Ended::Completed));
    }
}

#[test]
fn w1_callbacks_that_join_other_callbacks_do_not_use_up_the_pool() {
    const CALLS: usize = 12;
    let board = Board::default();
    let ways = ways(&board, 1);
    // Each callback joins the call that was started after it. So they all wait at once, and the last one ends first.
    let (ended, ends) = mpsc::channel();
    let last = ways.call(vec![Answers(1)]);
    let mut next: Handle = last.handle();
    for _ in 0..CALLS {
        let (joined, ended) = (next, ended.clone());
        next = ways.call(vec![Answers(0)]).callback(move |_| ended.send(joined.join()).unwrap());
    }
    board.at(0);
    last.callback(|_| {});
    (0..=1).for_each(|millis| board.at(millis));
    for _ in 0..CALLS {
        assert_eq!(ends.recv().unwrap(), Ok(Ended::Completed));
    }
}

#[test]
fn w1_callbacks_run_on_four_threads_and_all_have_their_turn() {
    let board = Board::default();
    let ways = ways(&board, 1);
    // Four callbacks at once must meet at the barrier, again and again.
    let together = Arc::new(Barrier::new(4));
    let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let handles: Vec<_> = (0..40)
        .map(|_| {
            let (together, threads) = (Arc::clone(&together), Arc::clone(&threads));
            ways.call(vec![Answers(0)]).callback(move |_| {
                together.wait();
                threads.lock().unwrap().insert(thread::current().id());
            })
        })
        .collect();
    board.at(0);
    for handle in handles {
        assert_eq!(handle.join(), Ok(Ended::Completed));
    }
    assert_eq!(threads.lock().unwrap().len(), 4);
}

#[test]
fn w1_callbacks_that_wait_for_calls_keep_the_four_threads() {
    const CALLS: usize = 200;
    let board = Board::default();
    let ways = ways(&board, 1);
    let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let handles: Vec<_> = (0..CALLS)
        .map(|number| {
            let (again, threads) = (ways.clone(), Arc::clone(&threads));
            ways.call(vec![Answers(0)]).callback(move |_| {
                threads.lock().unwrap().insert(thread::current().id());
                let call = again.call(vec![Answers(0)]);
                assert!(if number % 2 == 0 { call.wait() } else { call.start().join() }.is_ok());
            })
        })
        .collect();
    board.at(0);
    for waits in 1..=CALLS {
        board.spawned(CALLS + waits);
        board.at(0);
    }
    for handle in handles {
        assert_eq!(handle.join(), Ok(Ended::Completed));
    }
    assert!(threads.lock().unwrap().len() <= 4);
}

#[test]
fn w1_sixty_callbacks_may_join_at_once_and_a_further_join_is_an_error() {
    let board = Board::default();
    let ways = ways(&board, 1);
    let last = ways.call(vec![Answers(0)]);
    let (result, results) = mpsc::channel();
    for _ in 0..61 {
        let (joined, result) = (last.handle(), result.clone());
        ways.call(vec![Answers(0)]).callback(move |_| result.send(joined.join()).unwrap());
    }
    board.at(0);
    assert_eq!(results.recv().unwrap(), Err(JoinError::NoSpareThread));
    // The others wait. Four further callbacks still run at once.
    let together = Arc::new(Barrier::new(4));
    let meet = [0; 4].map(|_| {
        let together = Arc::clone(&together);
        ways.call(vec![Answers(0)]).callback(move |_| _ = together.wait())
    });
    board.at(0);
    assert_eq!(meet.map(|handle| handle.join()), [Ok(Ended::Completed); 4]);
    last.callback(|_| {});
    board.at(0);
    for _ in 0..60 {
        assert_eq!(results.recv().unwrap(), Ok(Ended::Completed));
    }
}

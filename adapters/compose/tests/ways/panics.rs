//! Panics of the program's code around a call: they do not change its result, and they are told as what they are.

use std::future::{Future, ready};

use hedge_compose::{Ended, WayError, Ways};
use hedge_core::time::Instant;
use hedge_fleet::{CallOptions, Caller, Report, Trace};

use crate::board::Board;
use crate::service::{Failure, Reply};

/// Answers at once, or panics as the request says.
struct Quick;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Panics {
    InTheCall,
    WhenTheRequestIsDropped,
}

struct Request(Panics);

impl Drop for Request {
    fn drop(&mut self) {
        assert!(self.0 != Panics::WhenTheRequestIsDropped, "a panic of a drop, which this test wants");
    }
}

impl Caller<Request> for Quick {
    type Reply = Reply;
    type Error = Failure;

    /// This is not an `async fn`: it panics before it returns a future.
    fn call_with(&self, request: &Request, _: &CallOptions) -> impl Future<Output = Result<Reply, Failure>> + Send {
        assert!(request.0 != Panics::InTheCall, "a panic of a caller, which this test wants");
        ready(Ok(Reply { trace: Trace::nowhere(Report::new(Instant::ZERO)) }))
    }
}

#[test]
fn w1_a_caller_that_panics_before_it_returns_a_future_is_told_as_a_panic() {
    let board = Board::default();
    let ways = Ways::new(Quick, board.clone());
    let started = ways.call(Request(Panics::InTheCall)).start();
    board.at(0);
    assert!(matches!(started.join(), Err(WayError::Panicked)));
}

#[test]
fn w1_a_request_that_panics_when_it_is_dropped_loses_no_reply() {
    let board = Board::default();
    let ways = Ways::new(Quick, board.clone());
    let started = ways.call(Request(Panics::WhenTheRequestIsDropped)).start();
    let handle = started.handle().clone();
    board.at(0);
    assert!(started.join().is_ok());
    assert_eq!(handle.ended(), Some(Ended::Completed));
}

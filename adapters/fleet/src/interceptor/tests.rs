use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use hedge_core::time::Instant;

use super::*;
use crate::end::CallEnd;
use crate::trace::Trace;
use crate::{CallOptions, Report};

type Log = Arc<Mutex<Vec<String>>>;

/// An interceptor that does what its name says, and records what it sees.
struct Named(&'static str, Log);

impl Named {
    fn push(&self, what: &str) {
        self.1.lock().unwrap().push(format!("{} {what}", self.0));
    }
}

impl Interceptor<String, u8, ()> for Named {
    async fn before_call(&self, call: &mut BeforeCall<'_, String>) -> Result<Flow<u8>, Refusal> {
        self.push("before call");
        match self.0 {
            "changes" => call.request_mut().push_str(" changed"),
            "refuses" => return Err("no".into()),
            "answers" => return Ok(Flow::Answer(7)),
            "panics" => std::panic::resume_unwind(Box::new("on purpose")),
            "waits" => std::future::pending().await,
            _ => {}
        }
        Ok(Flow::Continue)
    }

    fn after_call(&self, call: &AfterCall<'_, String, u8, ()>) {
        self.push(&format!("after {:?}, {}", call.outcome(), call.request()));
        if self.0 == "panics after" {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
}

fn list(names: &[&'static str]) -> (Interceptors<String, u8, ()>, Log) {
    let log = Log::default();
    let named = names.iter().map(|name| BoxInterceptor::new(Named(name, Arc::clone(&log))));
    let mut list = Interceptors::none();
    list.extend(named);
    (list, log)
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Asks all interceptors. Returns the result as text.
fn ask(call: &mut InterceptedCall<'_, String, u8, ()>) -> String {
    loop {
        match poll(call.ask()) {
            Poll::Ready(Some(Ok(Flow::Continue))) => {}
            Poll::Ready(Some(Ok(Flow::Answer(reply)))) => return format!("answered {reply}"),
            Poll::Ready(Some(Err(error))) => return format!("refused: {error}"),
            Poll::Ready(None) => return "passed".to_owned(),
            Poll::Pending => return "waits".to_owned(),
        }
    }
}

fn nowhere() -> Trace {
    Trace::nowhere(Report::new(Instant::ZERO))
}

#[test]
fn i1_each_that_let_a_call_pass_is_told_its_end_in_reverse() {
    for (names, asked, told) in [
        (&["a", "b"][..], "passed", &["a before call", "b before call", "b after END", "a after END"][..]),
        (&["a", "refuses", "b"], "refused: no", &["a before call", "refuses before call", "a after END"]),
        (&["a", "answers", "b"], "answered 7", &["a before call", "answers before call", "a after END"]),
        (
            &["a", "panics", "b"],
            "refused: the interceptor panicked",
            &["a before call", "panics before call", "a after END"],
        ),
        (&["a", "waits", "b"], "waits", &["a before call", "waits before call", "a after END"]),
        (&["refuses"], "refused: no", &["refuses before call"]),
        (
            &["a", "panics after"],
            "passed",
            &["a before call", "panics after before call", "panics after after END", "a after END"],
        ),
    ] {
        for is_dropped in [false, true] {
            let ((list, log), request, options) = (list(names), "request".to_owned(), CallOptions::new());
            let mut call = InterceptedCall::new(list.all(), &request, &options, Instant::ZERO);
            assert_eq!(ask(&mut call), asked, "{names:?}");
            let trace = nowhere();
            if !is_dropped {
                call.ended(CallEnd::new(&trace, &trace), CallOutcome::Failed(None));
            }
            drop(call);
            let end = if is_dropped { "Dropped, request" } else { "Failed(None), request" };
            let expected: Vec<_> = told.iter().map(|line| line.replace("END", end)).collect();
            assert_eq!(*log.lock().unwrap(), expected, "{names:?}");
        }
    }
}

#[test]
fn i1_a_request_is_copied_only_if_it_is_changed() {
    let ((list, _), request, options) = (list(&["a", "b"]), "request".to_owned(), CallOptions::new());
    let mut call = InterceptedCall::new(list.all(), &request, &options, Instant::ZERO);
    ask(&mut call);
    assert!(std::ptr::eq(call.request(), &raw const request) && std::ptr::eq(call.options(), &raw const options));
    drop(call);

    let (list, log) = self::list(&["changes", "changes"]);
    let mut call = InterceptedCall::new(list.all(), &request, &options, Instant::ZERO);
    ask(&mut call);
    assert_eq!((call.request().as_str(), request.as_str()), ("request changed changed", "request"));
    drop(call);
    assert!(log.lock().unwrap()[2].ends_with("Dropped, request changed changed"));
}

#[test]
fn i1_a_list_without_interceptors_is_none() {
    let mut none = Interceptors::<String, u8, ()>::default();
    none.extend([]);
    assert!(none.some().is_none());
    let one = none.clone().with(Named("a", Log::default()));
    assert_eq!((one.all().len(), none.all().len()), (1, 0));
}

//! Calls over callers of callers.

use hedge_net::http::{Body, HttpError, RequestBody};
use hedge_net::{BoxCaller, CallError, CallOptions, Caller, Channel, Outcome, Reply, Runtime, Verdict};

use super::server::{TestServer, ok, status};
use super::{PATIENCE, get, refused};

type Request = http::Request<RequestBody>;
type Answer = http::Response<Body>;
type AnyChannel = BoxCaller<Request, Reply<Answer>, CallError<Answer, HttpError>>;

/// The first of its callers that has a reply, if what the one before met lets the next one try.
struct Failover(Vec<AnyChannel>);

impl Caller<Request> for Failover {
    type Reply = Reply<Answer>;
    type Error = CallError<Answer, HttpError>;

    async fn call_with(&self, request: &Request, options: &CallOptions) -> Result<Self::Reply, Self::Error> {
        let mut result = self.0[0].call_with(request, options).await;
        for caller in &self.0[1..] {
            let Err(error) = &result else { break };
            if error.verdict() != Verdict::Retry {
                break;
            }
            result = caller.call_with(request, options).await;
        }
        result
    }
}

fn boxed<R: Runtime>(runtime: &R, servers: &str) -> AnyChannel {
    let builder = Channel::builder(runtime.clone(), servers).timeout(PATIENCE).connect_timeout(PATIENCE);
    BoxCaller::new(builder.build().unwrap())
}

pub async fn callers_of_channels_are_callers_too<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|_| ok("text"));
    let down = boxed(&runtime, &refused().to_string());
    let inner = BoxCaller::new(Failover(vec![down.clone(), boxed(&runtime, &there.address.to_string())]));
    let outer = Failover(vec![down.clone(), inner]);
    let (request, options) = (get("/"), CallOptions::new());
    for _ in 0..2 {
        let reply = outer.call_with(&request, &options).await.unwrap();
        assert_eq!(reply.body().bytes().unwrap(), "text");
        assert_eq!((reply.verdict(), reply.server().unwrap().address.clone()), (Verdict::Accept, there.address.into()));
        assert_eq!(Outcome::trace(&reply).attempts().len(), 1, "of the channel that answered");
    }
    // The first of these calls found the server down. The others find no server at all, but for one in 100 ms that may be
    // let through (H5).
    let error = loop {
        let error = down.call_with(&request, &options).await.unwrap_err();
        if error.all_down() {
            break error;
        }
        assert_eq!(error.kind(), "failed");
    };
    assert!(error.never_left());
}

pub async fn an_error_tells_whether_another_caller_may_do_better<R: Runtime>(runtime: R) {
    let options = CallOptions::new();
    let fresh = boxed(&runtime, &refused().to_string());
    let error = fresh.call_with(&get("/"), &options).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.verdict(), error.never_left(), error.all_down()),
        ("failed", Verdict::Retry, true, false)
    );

    let failing = TestServer::answering(|_| status(500, ""));
    let failing = boxed(&runtime, &failing.address.to_string());
    let error = failing.call_with(&get("/"), &options).await.unwrap_err();
    assert_eq!((error.verdict(), error.never_left(), error.all_down()), (Verdict::Retry, false, false));

    let too_many = CallOptions { max_retry: Some(200), ..CallOptions::new() };
    let error = failing.call_with(&get("/"), &too_many).await.unwrap_err();
    assert_eq!((error.kind(), error.verdict(), error.never_left()), ("config", Verdict::Fatal, true));
}

//! A call of a channel that has interceptors ([I1](hedge_core::rules#I1)).

use hedge_core::drive::{Along, AttemptInfo, CallFailure, SendTransport};
use hedge_core::outcome::{Code, ErrorKind, Judgement, Verdict};
use hedge_core::policy::RetryPolicy;
use hedge_core::time::{Duration, Instant, Timeout};
use hedge_fleet::{
    Address, AlongOptions, BoxInterceptor, CallEnd, CallOptions, CallOutcome, Flow, InterceptedCall, Keys, Refusal,
    Report, Trace,
};
use hedge_link::Runtime;

use super::{BoxRetryPolicy, CallResult, Ended, Inner, along_of};
use crate::error::CallError;
use crate::reply::Reply;
use crate::wait::{Wait, in_time};

/// Puts back what interceptors may not change in the request of an attempt. The first request is the changed copy, the
/// second one that of the call.
pub(crate) type Keep<T> = fn(&mut <T as SendTransport>::Request, &<T as SendTransport>::Request);

/// One call on its way through the interceptors of its channel.
type Intercepted<'a, T> =
    InterceptedCall<'a, <T as SendTransport>::Request, <T as SendTransport>::Reply, <T as SendTransport>::Error>;

/// Why an attempt that interceptors have seen has no reply.
pub(super) enum AttemptFailure<E> {
    /// The transport's error.
    Transport(E),
    /// An interceptor refused the attempt. It was not sent.
    Refused(Refusal),
}

/// A refusal ends the call, and says nothing about the server.
impl<B, E> RetryPolicy<B, AttemptFailure<E>> for BoxRetryPolicy<B, E> {
    fn judge(&self, result: Result<&B, &AttemptFailure<E>>) -> Judgement {
        match result {
            Ok(reply) => self.0.judge(Ok(reply)),
            Err(AttemptFailure::Transport(error)) => self.0.judge(Err(error)),
            Err(AttemptFailure::Refused(_)) => {
                Judgement::new(Verdict::Fatal, Code::from(ErrorKind::Local)).never_left()
            }
        }
    }
}

/// What the interceptors made of a call.
enum Asked<T: SendTransport<Request: Sized>> {
    /// The call starts, with these options.
    Start(CallOptions),
    /// It was answered or refused.
    Over(CallResult<T>),
}

impl<R, T> Inner<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// Makes one call, if the interceptors let it pass.
    pub(super) async fn run_intercepted(
        &self,
        interceptors: &[BoxInterceptor<T::Request, T::Reply, T::Error>],
        request: &T::Request,
        options: &CallOptions,
    ) -> CallResult<T> {
        let started = self.runtime.now();
        let mut call = InterceptedCall::new(interceptors, request, options, started);
        let result = match self.ask(&mut call, started).await {
            Asked::Start(options) => self.start_intercepted(&call, &options).await,
            Asked::Over(result) => result,
        };
        let (trace, outcome) = match &result {
            Ok(reply) => (reply.trace(), CallOutcome::Replied(&**reply)),
            Err(error) => (
                error.trace(),
                match error {
                    CallError::Refused { error, .. } => CallOutcome::Refused(&**error),
                    _ => CallOutcome::Failed(error.last()),
                },
            ),
        };
        call.ended(CallEnd::new(trace, trace), outcome);
        result
    }

    /// Asks the interceptors one by one, at most to the call's deadline, or until the call is cancelled.
    async fn ask(&self, call: &mut Intercepted<'_, T>, started: Instant) -> Asked<T> {
        loop {
            // An interceptor may change both.
            let deadline = self.deadline(call.options(), started);
            let cancel = call.options().cancel.clone();
            let cancel = cancel.as_ref().map(|token| token.signal());
            let flow = match in_time(&self.runtime, deadline, cancel, call.ask()).await {
                Wait::Ready(Some(flow)) => flow,
                // A cancelled call goes on at once, to end as cancelled.
                Wait::Ready(None) | Wait::Cancelled => {
                    let left = deadline.map(|deadline| deadline.since(self.runtime.now()));
                    return Asked::Start(with_time(call.options(), left));
                }
                // Without time, a call starts nothing and ends as it does at its deadline.
                Wait::Late => return Asked::Start(with_time(call.options(), Some(Duration::ZERO))),
            };
            let trace = || Trace::nowhere(Report::new(started));
            match flow {
                Ok(Flow::Continue) => {}
                Ok(Flow::Answer(reply)) => {
                    self.settings.call_answered();
                    return Asked::Over(Ok(Reply::new(reply, trace(), None, None)));
                }
                Err(error) => {
                    self.settings.call_refused();
                    return Asked::Over(Err(CallError::Refused { error, report: Box::new(trace()) }));
                }
            }
        }
    }

    fn deadline(&self, options: &CallOptions, started: Instant) -> Option<Instant> {
        let timeout = options.timeout.unwrap_or_else(|| self.settings.options().channel.timeout);
        timeout.limit().map(|timeout| started + timeout)
    }

    /// Makes a call that the interceptors have let pass.
    async fn start_intercepted(&self, call: &Intercepted<'_, T>, options: &CallOptions) -> CallResult<T> {
        let waited = match self.waiting(options) {
            Some(waiting) => Some(waiting.await),
            None => None,
        };
        let options = waited.as_ref().map_or(options, |waited| &waited.options);
        let along = AlongOptions::call_along(options.along.as_deref(), self.transport.wants_key());
        let mut host = self.host(options);
        let ended = hedge_fleet::run!(
            host,
            options,
            self.transport.idempotency(call.request()),
            |attempt: AttemptInfo<Address>| {
                let along = along_of(along.as_deref(), host.tried(), attempt.kind);
                self.start_attempt(call, &host, attempt, along)
            },
            |call, result| Ended::new(result, call)
        );
        let ended = match ended.map(Ended::split) {
            Ok((ended, None)) => Ok(ended),
            Ok((ended, Some(error))) => {
                let report = Box::new(Trace::new(ended.report, host.tried()));
                return Err(CallError::Refused { error, report });
            }
            Err(error) => Err(error),
        };
        self.finish(host.tried(), ended, waited.as_ref(), options.body)
    }

    /// Makes one attempt, if the interceptors let it pass. `keys` knows its server.
    async fn start_attempt<H: Keys>(
        &self,
        call: &Intercepted<'_, T>,
        keys: &H,
        info: AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> Result<T::Reply, AttemptFailure<T::Error>> {
        let mut attempt = call.begin(keys, info.without_address()).map_err(AttemptFailure::Refused)?;
        if let (Some(changed), Some(keep)) = (attempt.changed_request(), self.keep) {
            keep(changed, call.request());
        }
        let result = self.transport.start_along(attempt.request(), info, along).await;
        attempt.ended(result.as_ref());
        result.map_err(AttemptFailure::Transport)
    }
}

/// These options, for a call that has so much time left.
fn with_time(options: &CallOptions, left: Option<Duration>) -> CallOptions {
    CallOptions { timeout: left.map(Timeout::after).or(options.timeout), ..options.clone() }
}

impl<Reply, E> Ended<Reply, AttemptFailure<E>> {
    /// The same with the transport's errors, and the refusal that ended the call, if one did.
    fn split(self) -> (Ended<Reply, E>, Option<Refusal>) {
        let Self { result, report, at_work, deadline } = self;
        let mut refusal = None;
        let result = result.map_err(|failure| match failure {
            CallFailure::Config(error) => CallFailure::Config(error),
            CallFailure::Ended { end, last } => {
                let last = match last {
                    Some(Err(AttemptFailure::Transport(error))) => Some(Err(error)),
                    Some(Err(AttemptFailure::Refused(error))) => {
                        refusal = Some(error);
                        None
                    }
                    Some(Ok(reply)) => Some(Ok(reply)),
                    None => None,
                };
                CallFailure::Ended { end, last }
            }
        });
        (Ended { result, report, at_work, deadline }, refusal)
    }
}

//! The program's own code around calls and their attempts: [`Interceptor`].

mod attempt;
mod call;
mod changed;
mod event;
mod list;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

pub use attempt::InterceptedAttempt;
pub use call::InterceptedCall;
pub use event::{AfterAttempt, AfterCall, BeforeAttempt, BeforeCall, CallOutcome};
pub use list::{BoxInterceptor, Interceptors};

/// The error with which an interceptor refuses a call or an attempt. The caller gets this error unchanged, and can
/// downcast it to its type.
pub type Refusal = Box<dyn Error + Send + Sync>;

/// What happens to a call after an interceptor has seen it.
#[derive(Debug)]
pub enum Flow<Reply> {
    /// The next interceptor is asked. If this was the last interceptor, the call starts.
    Continue,
    /// The value is the call's reply. Nothing is sent.
    Answer(Reply),
}

/// Code of the program that runs around each call and each of its attempts ([I1](hedge_core::rules#I1)). An interceptor
/// may change the request and the options of a call, answer the call itself, or refuse the call. It sees the result of
/// each attempt and of the call. Every method has a default that does nothing.
///
/// For code that changes nothing, an [`Observer`](crate::Observer) is the better choice. It costs less, and is also
/// notified of changes of servers and of the verdict on each attempt.
///
/// ```
/// use hedge_fleet::{BeforeCall, Flow, Interceptor, Refusal};
///
/// /// Allows a call at most `limit` attempts, unless the call itself sets `max_retry`.
/// struct AtMost {
///     limit: u8,
/// }
///
/// impl<Request: Send + Sync, Reply, Error> Interceptor<Request, Reply, Error> for AtMost {
///     async fn before_call(&self, call: &mut BeforeCall<'_, Request>) -> Result<Flow<Reply>, Refusal> {
///         let extra = self.limit.checked_sub(1).ok_or("no attempt is allowed")?;
///         if call.options().max_retry.is_none() {
///             call.options_mut().max_retry = Some(extra);
///         }
///         Ok(Flow::Continue)
///     }
/// }
/// ```
///
/// `Request`, `Reply` and `Error` are the types of the transport. If an interceptor does not look at them, it can be
/// generic over them, as in the example, and fits every channel.
///
/// # Order
/// A channel asks its interceptors in a fixed order: first the interceptors of the lists that its builder was given,
/// then its own, each in the order in which they were added. `before_call` and `before_attempt` run in this order.
/// `after_attempt` and `after_call` run in reverse order. So the first interceptor is the outermost, and the last one
/// is the innermost. There is no hidden list for the whole process. An interceptor is global if the program adds it to
/// one list of [`Interceptors`], and gives that list to each builder.
///
/// If `before_call` of an interceptor has returned [`Flow::Continue`], this interceptor gets one `after_call`, whatever
/// happens: a later interceptor may refuse or answer the call, the deadline may pass, or the call's future may be
/// dropped. In the same way, `after_attempt` follows each `before_attempt` that has returned `Ok`.
///
/// # Refusals
/// If `before_call` refuses, nothing is started: no server is chosen, no limit is asked, and no later interceptor sees
/// the call. The caller gets the interceptor's error. Refused calls are counted as
/// [`refused`](crate::Counters::refused), and calls that an interceptor answers as
/// [`answered`](crate::Counters::answered). Balancers, limits, latencies, observers and `on_end` do not see such calls.
/// The reports of such calls are empty.
///
/// If `before_attempt` refuses, this attempt is not sent, and its call ends at once with the same error. The other
/// attempts of the call are abandoned. The report and the observers show the refused attempt as failed at this client,
/// and the call counts as [`fatal`](crate::Counters::fatal). No server is blamed.
///
/// # Time
/// `before_call` may wait. The wait counts against the call's deadline. The deadline is the start of the call plus the
/// timeout in the options. An interceptor may change this timeout, so the deadline is computed again before each
/// interceptor is asked. At the deadline, or if the call is cancelled, the waiting future is dropped. Then no further
/// interceptor is asked, nothing is sent, and the call ends as it does without interceptors. The times in the report
/// begin when all interceptors have been asked. The other methods cannot wait, so they delay nothing. To delay or
/// refuse retries and backups, use a [`BackupPolicy`](hedge_core::policy::BackupPolicy) or a
/// [`RetryPolicy`](hedge_core::policy::RetryPolicy). To inject faults, wrap a transport.
///
/// # Panics
/// If an interceptor panics before a call or an attempt, it refuses that call or attempt. So a check that panics lets
/// nothing through. A panic after an attempt or a call does no harm to the attempt or the call: only this notice to the
/// interceptor is lost.
///
/// # Cost
/// Without interceptors, a call checks one pointer. With interceptors, a call allocates its future and one more future
/// for each interceptor's `before_call`. If an interceptor changes the request or the options, a copy of these is
/// allocated too.
pub trait Interceptor<Request, Reply, Error>: Send + Sync {
    /// Called before a call starts. The interceptor may change the call, wait, or answer the call itself.
    ///
    /// # Errors
    /// Returns an error if the interceptor refuses the call. The caller gets this error, and nothing is sent.
    fn before_call(
        &self,
        call: &mut BeforeCall<'_, Request>,
    ) -> impl Future<Output = Result<Flow<Reply>, Refusal>> + Send {
        let _ = call;
        async { Ok(Flow::Continue) }
    }

    /// Called before an attempt is sent.
    ///
    /// # Errors
    /// Returns an error if the interceptor refuses the attempt. The call then ends with this error.
    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Request>) -> Result<(), Refusal> {
        let _ = attempt;
        Ok(())
    }

    /// Called when an attempt has a result, or when its call no longer waits for a result. The retry policy has not
    /// judged the result yet.
    fn after_attempt(&self, attempt: &AfterAttempt<'_, Request, Reply, Error>) {
        let _ = attempt;
    }

    /// Called when a call has ended.
    fn after_call(&self, call: &AfterCall<'_, Request, Reply, Error>) {
        let _ = call;
    }
}

impl<I: Interceptor<Request, Reply, Error>, Request, Reply, Error> Interceptor<Request, Reply, Error> for Arc<I> {
    fn before_call(
        &self,
        call: &mut BeforeCall<'_, Request>,
    ) -> impl Future<Output = Result<Flow<Reply>, Refusal>> + Send {
        (**self).before_call(call)
    }

    fn before_attempt(&self, attempt: &mut BeforeAttempt<'_, Request>) -> Result<(), Refusal> {
        (**self).before_attempt(attempt)
    }

    fn after_attempt(&self, attempt: &AfterAttempt<'_, Request, Reply, Error>) {
        (**self).after_attempt(attempt);
    }

    fn after_call(&self, call: &AfterCall<'_, Request, Reply, Error>) {
        (**self).after_call(call);
    }
}

/// The error of a call or an attempt that is refused because an interceptor panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterceptorPanicked;

impl fmt::Display for InterceptorPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the interceptor panicked")
    }
}

impl Error for InterceptorPanicked {}

//! Runs one call from its options to its end: [`run!`](crate::run!).

use hedge_core::call::Host;
use hedge_core::drive::{Addresses, CancelSignal, Timer};
use hedge_core::id::ServerId;
use hedge_core::outcome::{Judgement, Verdict};
use hedge_core::policy::{CallOptions, RetryPolicy};
use hedge_core::time::{Instant, Timeout};

use crate::end::Keys;
use crate::settings::Settings;

/// The host of one call, together with the timer and the retry policy that the call uses. [`run!`](crate::run!) runs a
/// call with it.
pub trait CallContext: Host + Addresses + Keys {
    /// The type of the timer that the call waits on.
    type Timer: Timer;
    /// The type of the retry policy, which judges results.
    type RetryPolicy;

    /// Returns the timer that the call waits on.
    fn timer(&self) -> &Self::Timer;

    /// Returns the retry policy, which judges results.
    fn retry_policy(&self) -> &Self::RetryPolicy;

    /// Returns the settings that all calls share.
    fn settings(&self) -> &Settings;

    /// Takes the options that are in force now. The call keeps these options to its end. This method must be called
    /// once, when the call starts, before anything reads the options.
    fn hold(&mut self);

    /// Returns how long one attempt may take if the call itself sets no attempt timeout ([L21](hedge_core::rules#L21)).
    fn attempt_timeout(&self) -> Timeout;

    /// Prepares the call, which is about to start at `now`. [`run!`](crate::run!) calls this once, before it looks for
    /// a server.
    fn prepare(&mut self, options: &CallOptions<'_>, now: Instant) {
        let _ = (options, now);
    }

    /// Returns the servers that the call itself named ([S8](hedge_core::rules#S8)). `None` means that the balancer
    /// chooses the servers.
    fn own_servers(&self) -> Option<&[ServerId]> {
        None
    }

    /// Called when the retry policy has judged the result of an attempt, if the result was not accepted.
    fn failed(&self, judgement: &Judgement) {
        let _ = judgement;
    }

    /// Called once when the call starts. The options of the call are valid, and nothing has been sent yet.
    fn call_started(&self, now: Instant) {
        let _ = now;
    }
}

/// The retry policy of a call, which tells the host of each failure. Only [`run!`](crate::run!) uses it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Judge<'a, H>(pub &'a H);

impl<H, Reply, Error> RetryPolicy<Reply, Error> for Judge<'_, H>
where
    H: CallContext<RetryPolicy: RetryPolicy<Reply, Error>>,
{
    #[inline]
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        let judgement = self.0.retry_policy().judge(result);
        if judgement.verdict != Verdict::Accept {
            self.0.failed(&judgement);
        }
        judgement
    }
}

/// The options of a call, in a type of the adapter. [`run!`](crate::run!) reads them through this trait.
pub trait AsCallOptions {
    /// Returns the options in the form of the core. In them, `servers` is `None`: [`CallContext::own_servers`] returns
    /// the servers.
    fn as_core(&self) -> CallOptions<'_>;

    /// Returns how long one attempt may take ([L21](hedge_core::rules#L21)). `None` means that the attempt timeout of
    /// the settings applies.
    fn attempt_timeout(&self) -> Option<Timeout>;

    /// Returns the signal that cancels the call, if the call has one.
    fn cancel(&self) -> Option<&CancelSignal>;
}

/// Runs a call inside an async block, in three parts: prepare, drive, finish. Dropping the future cancels the call.
///
/// The form is `run!(host, options, idempotency, start, |call, result| finish)`. The parts have these meanings:
///
/// - `host` is a mutable variable that holds the call's host, a [`CallContext`].
/// - `options` are the options of the call. They implement [`AsCallOptions`](crate::AsCallOptions).
/// - `idempotency` says whether the request may be sent twice. The macro uses this value if the `idempotency` of the
///   options is `Unset` ([L15](hedge_core::rules#L15)).
/// - `start` is a closure that makes the future of an attempt.
/// - `finish` is an expression that is evaluated once the call is over. In `finish`, `call` is the
///   [`Call`](hedge_core::call::Call), and `result` is the accepted reply or a
///   [`CallFailure`](hedge_core::drive::CallFailure).
///
/// The macro returns `Ok` with the value of `finish`. If the options are invalid, no attempt is started, and the macro
/// returns `Err` with a [`ConfigError`](hedge_core::policy::ConfigError). There is one exception: if only `max_backups`
/// is too large, `result` is a [`CallFailure::Config`](hedge_core::drive::CallFailure::Config).
///
/// # Cost
/// The future has room for two attempts. A call that may send more than one backup, which is rare, puts the future of
/// each attempt on the heap.
// This is a macro, because the future of a function would hold both the arguments and the values made from them. That
// would cost 56 more bytes for each call, and 180 instructions to move the arguments.
#[macro_export]
macro_rules! run {
    ($host:ident, $call_options:expr, $idempotency:expr, $start:expr, |$call:ident, $result:ident| $finish:expr $(,)?) => {
        'run: {
            use $crate::__private::{AttemptInfo, Call, CallWatch, Driver, Idempotency, Judge, Timer as _, drive, pin};
            use $crate::{AsCallOptions as _, CallContext as _};

            // This is the part "prepare". The options are read before the clock. In the other order, the compiler would
            // no longer see that most options are not set, and would copy them through memory.
            let mut options = $call_options.as_core();
            if options.idempotency == Idempotency::Unset {
                options.idempotency = $idempotency;
            }
            let now = $host.timer().now();
            $host.prepare(&options, now);
            options.servers = $host.own_servers();
            let with_own;
            if let Some(own) = options.backup_policy {
                with_own = $host.settings().with_own(own);
                options.backup_policy = Some(&with_own);
            }
            let mut call = match Call::<_, { $crate::MAX_ATTEMPTS }>::new(&$host, &options, now) {
                Ok(call) => call,
                Err(error) => break 'run Err(error),
            };
            $host.call_started(now);
            let watch = CallWatch::new(&$host, $host.settings().observers(), call.max_backups());

            // This is the part "drive".
            let attempt_timeout = $call_options.attempt_timeout().unwrap_or($host.attempt_timeout());
            let judge = Judge(&$host);
            let driver = Driver::new($host.timer(), &judge).cancelled_by($call_options.cancel());
            let driver = driver.attempt_timeout(attempt_timeout).watched_by(&watch);
            let mut start = $start;
            let mut start = |attempt: AttemptInfo<_>| watch.begin(attempt.attempt, || start(attempt));
            let $result = if call.max_backups() <= 1 {
                drive(&mut call, [pin!(None), pin!(None)], driver, start).await
            } else {
                let start = move |attempt| ::std::boxed::Box::pin(start(attempt));
                let slots: [_; $crate::MAX_IN_FLIGHT] = [pin!(None), pin!(None), pin!(None), pin!(None), pin!(None)];
                drive(&mut call, slots, driver, start).await
            };

            $host.settings().tell_end(&$result, call.report(), &$host);

            // This is the part "finish". There is no `await` from here on. So the future cannot be dropped at a moment
            // when a streaming attempt is still counted and no `Lease` exists yet that would remove the count.
            let $call = &call;
            Ok($finish)
        }
    };
}

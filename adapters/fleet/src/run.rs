//! Runs one call, from its options to its end: [`run!`](crate::run!).

use hedge_core::call::Host;
use hedge_core::drive::{Addresses, CancelSignal, Timer};
use hedge_core::id::ServerId;
use hedge_core::policy::CallOptions;
use hedge_core::time::{Instant, Timeout};

use crate::end::Keys;
use crate::settings::Settings;

/// The host of one call, with the timer and the judge that the call uses.
pub trait CallContext: Host + Addresses + Keys {
    /// The timer that the call waits on.
    type Timer: Timer;
    /// The retry policy, which judges results.
    type RetryPolicy;

    /// The timer that the call waits on.
    fn timer(&self) -> &Self::Timer;

    /// The retry policy, which judges results.
    fn retry_policy(&self) -> &Self::RetryPolicy;

    /// The settings that all calls share.
    fn settings(&self) -> &Settings;

    /// Takes the options that are in force now, which the call then has to its end. Call this once, when the call starts and
    /// before anything reads its options.
    fn hold(&mut self);

    /// How long one attempt may take if the call does not set that ([L21](hedge_core::rules#L21)).
    fn attempt_timeout(&self) -> Timeout;

    /// Says that the call is about to start at `now`. This comes once, before anything else.
    fn prepare(&mut self, options: &CallOptions<'_>, now: Instant) {
        let _ = (options, now);
    }

    /// The servers that the call named itself ([S8](hedge_core::rules#S8)).
    fn own_servers(&self) -> Option<&[ServerId]> {
        None
    }

    /// Says that the call has started: its options can be carried out.
    fn call_started(&self, now: Instant) {
        let _ = now;
    }
}

/// The options of a call, as an adapter's own type gives them.
pub trait AsCallOptions {
    /// The options in the core's form, without the servers.
    fn as_core(&self) -> CallOptions<'_>;

    /// How long one attempt may take ([L21](hedge_core::rules#L21)). `None`: as the settings say.
    fn attempt_timeout(&self) -> Option<Timeout>;

    /// The signal that cancels the call, if it has one.
    fn cancel(&self) -> Option<&CancelSignal>;
}

/// Runs a call inside an async block: prepare, drive, finish. Dropping the future cancels the call.
///
/// The form is `run!(host, options, idempotency, start, |call, result| finish)`. `host` is a mutable variable that
/// holds the call's host, a [`CallContext`]. `options` are the options of the call, which implement
/// [`AsCallOptions`](crate::AsCallOptions). `idempotency` is that of the request, for calls that do not set it
/// ([L15](hedge_core::rules#L15)). `start` is a closure that makes the future of an attempt. `finish` is an expression
/// that is evaluated once the call is over. In it, `call` is the [`Call`](hedge_core::call::Call), and `result` is the
/// accepted reply or a [`CallFailure`](hedge_core::drive::CallFailure).
///
/// The value is `Ok` of the value of `finish`. If the options cannot be carried out, nothing was started, and the value
/// is `Err` of the [`ConfigError`](hedge_core::policy::ConfigError).
///
/// # Cost
/// The future has room for two attempts. A call that may have more attempts in flight, which is rare, boxes each one.
// This is a macro because the future of a function would hold its arguments as well as what it makes of them: 56 bytes
// more for each call, and 180 instructions to move them.
#[macro_export]
macro_rules! run {
    ($host:ident, $call_options:expr, $idempotency:expr, $start:expr, |$call:ident, $result:ident| $finish:expr $(,)?) => {
        'run: {
            use $crate::__private::{AttemptInfo, Call, CallWatch, Driver, Idempotency, Timer as _, drive, pin};
            use $crate::{AsCallOptions as _, CallContext as _};

            // Prepare.
            let now = $host.timer().now();
            let mut options = $call_options.as_core();
            if options.idempotency == Idempotency::Unset {
                options.idempotency = $idempotency;
            }
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

            // Drive.
            let attempt_timeout = $call_options.attempt_timeout().unwrap_or($host.attempt_timeout());
            let driver = Driver::new($host.timer(), $host.retry_policy()).cancelled_by($call_options.cancel());
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

            // Finish. There is no `await` from here on, so the future cannot be dropped between a count and its lease.
            let $call = &call;
            Ok($finish)
        }
    };
}

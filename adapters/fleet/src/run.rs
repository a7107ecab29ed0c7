//! One call from its options to its end: [`run!`](crate::run!).

use hedge_core::call::Host;
use hedge_core::drive::{Addresses, CancelSignal, Timer};
use hedge_core::id::ServerId;
use hedge_core::policy::CallOptions;
use hedge_core::time::Instant;

use crate::settings::Settings;

/// A host of one call, and what the call is run on.
pub trait CallContext: Host + Addresses {
    /// What it waits on.
    type Timer: Timer;
    /// Who judges results.
    type Judge;

    /// What it waits on.
    fn timer(&self) -> &Self::Timer;

    /// Who judges results.
    fn judge(&self) -> &Self::Judge;

    /// What all calls share.
    fn settings(&self) -> &Settings;

    /// The call is about to start at `now`. Asked once, before anything else.
    fn begin(&mut self, options: &CallOptions<'_>, now: Instant) {
        let _ = (options, now);
    }

    /// The servers that the call named itself (S8).
    fn own_servers(&self) -> Option<&[ServerId]> {
        None
    }

    /// The call's options can be carried out, so that it has started.
    fn has_begun(&self, now: Instant) {
        let _ = now;
    }
}

/// What a call asks for.
pub trait Asked {
    /// As the core wants to see it, the servers apart.
    fn as_core(&self) -> CallOptions<'_>;

    /// What cancels it from elsewhere.
    fn cancel(&self) -> Option<&CancelSignal>;
}

/// Runs a call within an async block: prepare, drive, finish. Dropping the future cancels the call.
///
/// `run!(host, asked, idempotency, start, |call, result| finish)` takes a variable with the call's host, a [`CallContext`];
/// what the call asks for, which is [`Asked`](crate::Asked); the idempotency of its request, for calls that do not say (L15); and
/// a closure that makes the future of an attempt. `finish` is evaluated once the call is over. There `call` is the
/// [`Call`](hedge_core::call::Call), and `result` its accepted reply or a
/// [`CallFailure`](hedge_core::drive::CallFailure). Answers `Ok` of what
/// `finish` is, or the [`ConfigError`](hedge_core::policy::ConfigError) of a call whose options cannot be carried out, of which
/// nothing was started.
///
/// # Cost
/// Two attempts fit into the future itself; a call that may have more in flight, which is rare, boxes them.
// A function would hold what it is given beside what it makes of that: 56 bytes a call, and 180 instructions to move them.
#[macro_export]
macro_rules! run {
    ($host:ident, $asked:expr, $idempotency:expr, $start:expr, |$call:ident, $result:ident| $finish:expr $(,)?) => {
        'run: {
            use $crate::__private::{Call, Driver, Idempotency, Timer as _, drive, pin};
            use $crate::{Asked as _, CallContext as _};

            // Prepare.
            let now = $host.timer().now();
            let mut options = $asked.as_core();
            if options.idempotency == Idempotency::Unset {
                options.idempotency = $idempotency;
            }
            $host.begin(&options, now);
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
            $host.has_begun(now);

            // Drive.
            let driver = Driver::new($host.timer(), $host.judge()).cancelled_by($asked.cancel());
            let mut start = $start;
            let $result = if call.max_backups() <= 1 {
                drive(&mut call, [pin!(None), pin!(None)], driver, start).await
            } else {
                let start = move |attempt| ::std::boxed::Box::pin(start(attempt));
                let slots: [_; $crate::MAX_IN_FLIGHT] = [pin!(None), pin!(None), pin!(None), pin!(None), pin!(None)];
                drive(&mut call, slots, driver, start).await
            };

            // Finish. From here on nothing waits, so that no drop of the future comes between a count and its lease.
            let $call = &call;
            Ok($finish)
        }
    };
}

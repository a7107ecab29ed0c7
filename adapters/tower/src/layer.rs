//! Hedges one service: [`HedgeLayer`] and [`Hedge`].

use std::any::Any;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use hedge_core::balance::{NoServer, Pick, Selection};
use hedge_core::call::Host;
use hedge_core::drive::{Addresses, AttemptInfo, Timer};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::latency::Snapshot;
use hedge_core::outcome::{Denial, Extra, Finished, Kind};
use hedge_core::policy::{BackupDelay, ChannelOptions, Ended, RetryPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};
use hedge_fleet::{CallContext, Counters, HeldOptions, Keys, Settings};
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::Attempt;
use crate::run::run;
use crate::shared::{AttemptPolicy, Shared};
use crate::{Error, Plain, Protocol, ResponseFuture, RetryErrors};

/// Makes a [`Hedge`] from a service. All services that a layer and its clones make share one set of options, limits and
/// policies.
pub struct HedgeLayer<T, R = RetryErrors, C = Plain> {
    shared: Arc<Shared<T, R, C>>,
}

impl<T, R, C> HedgeLayer<T, R, C> {
    pub(crate) fn new(shared: Shared<T, R, C>) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn shared(&self) -> &Shared<T, R, C> {
        &self.shared
    }
}

impl<S, T, R, C> Layer<S> for HedgeLayer<T, R, C> {
    type Service = Hedge<S, T, R, C>;

    fn layer(&self, service: S) -> Self::Service {
        Hedge { service, shared: Arc::clone(&self.shared) }
    }
}

impl<T, R, C> Clone for HedgeLayer<T, R, C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T, R, C> fmt::Debug for HedgeLayer<T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeLayer").field("options", &self.shared.settings.options()).finish_non_exhaustive()
    }
}

/// A service whose calls are hedged and retried.
///
/// To the core, the service is one server that may work on several attempts of a call. The instance that was polled
/// ready makes the first attempt. A clone makes each further attempt. The wait for the clone to become ready is part of
/// the attempt.
pub struct Hedge<S, T, R = RetryErrors, C = Plain> {
    service: S,
    shared: Arc<Shared<T, R, C>>,
}

impl<S, T, R, C> Hedge<S, T, R, C> {
    pub(crate) fn shared(&self) -> &Shared<T, R, C> {
        &self.shared
    }

    /// The service that this hedges.
    pub const fn get_ref(&self) -> &S {
        &self.service
    }

    /// The service that this hedges, borrowed as mutable.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// How many extra attempts of this kind were refused for this reason, by all services of the layer. The count wraps
    /// at 2³².
    pub fn denied(&self, extra: Extra, reason: Denial) -> u32 {
        self.shared.settings.denied(extra, reason)
    }

    /// How many calls of all services of the layer ended in which way since the layer was made, how many attempts they
    /// made, and how many extra attempts were refused.
    pub fn counters(&self) -> Counters {
        self.shared.settings.counters()
    }

    /// How long the calls of all services of the layer took in the last 10 s: their number, their rate, the mean, the
    /// longest, percentiles and the distribution.
    ///
    /// The latency of a call is the time from its start to its end, retries and backups included. Calls whose result is
    /// accepted or [`Fatal`](hedge_core::outcome::Verdict::Fatal) count as answered. All other calls, also dropped
    /// calls, count as [abandoned](Snapshot::abandoned). The answer to an abandoned call would have taken longer, so
    /// its latency is a lower bound. Percentiles are estimated as if every call had waited for its answer. Calls that
    /// are rejected for invalid options are not counted.
    ///
    /// A layer uses 2 KB for the latencies. Recording a call costs one atomic addition, and from time to time some
    /// microseconds of [upkeep](hedge_core::latency#cost). This method copies 2 KB.
    pub fn latencies(&self) -> Snapshot
    where
        T: Timer,
    {
        self.shared.settings.latencies(self.now())
    }

    /// The current time of the layer's clock. The policies of the layer use the same clock, so a snapshot of a policy's
    /// own latencies needs this time: `adaptive.latencies().snapshot(service.now())`.
    pub fn now(&self) -> Instant
    where
        T: Timer,
    {
        self.shared.timer.now()
    }

    /// Returns the service that this hedges.
    pub fn into_inner(self) -> S {
        self.service
    }
}

impl<S, T, R, C, Request> Service<Request> for Hedge<S, T, R, C>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    Request: Send + 'static,
    T: Timer<Sleep: Send> + Send + Sync + 'static,
    R: RetryPolicy<S::Response, S::Error> + Send + Sync + 'static,
    C: Protocol<Request, S::Response> + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx).map_err(Error::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let clone = self.service.clone();
        // The instance that was polled ready makes the call, and the clone replaces it in `self`.
        let mut service = mem::replace(&mut self.service, clone);
        ResponseFuture::new(|| {
            // `run` takes the options when the call starts.
            let host = OneServer { shared: Arc::clone(&self.shared), held: HeldOptions::default() };
            run(host, request, move |attempt: AttemptInfo<()>, request| match (attempt.kind, request) {
                (Kind::First, Some(request)) => Attempt::Called { response: service.call(request) },
                (_, request) => Attempt::Unready { service: service.clone(), request },
            })
        })
    }
}

impl<S: Clone, T, R, C> Clone for Hedge<S, T, R, C> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, T, R, C> fmt::Debug for Hedge<S, T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("service", &self.service)
            .field("options", &self.shared.settings.options())
            .finish_non_exhaustive()
    }
}

/// A host with one server, which is always usable.
struct OneServer<T, R, C> {
    shared: Arc<Shared<T, R, C>>,
    held: HeldOptions,
}

const THE_SERVER: Pick<()> = Pick { server: ServerId::new(0, 0), address: AddressKey(0), ticket: None };

impl<T, R, C> AsRef<Shared<T, R, C>> for OneServer<T, R, C> {
    fn as_ref(&self) -> &Shared<T, R, C> {
        &self.shared
    }
}

impl<T, R, C> Keys for OneServer<T, R, C> {
    fn key(&self, _: ServerId) -> Option<&dyn Any> {
        None
    }
}

impl<T: Timer, R, C> CallContext for OneServer<T, R, C> {
    type Timer = T;
    type RetryPolicy = AttemptPolicy<R>;

    fn timer(&self) -> &T {
        &self.shared.timer
    }

    fn retry_policy(&self) -> &AttemptPolicy<R> {
        &self.shared.retry_policy
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn hold(&mut self) {
        self.held = self.shared.settings.hold();
    }

    fn attempt_timeout(&self) -> Timeout {
        self.shared.settings.attempt_timeout(&self.held)
    }
}

impl<T, R, C> Host for OneServer<T, R, C> {
    type Ticket = ();

    fn options(&self) -> &ChannelOptions {
        self.shared.settings.inherited(&self.held)
    }

    fn seeds(&self) -> &Seeds {
        self.shared.settings.seeds()
    }

    fn addresses(&self) -> usize {
        1
    }

    fn look(&self, _: &Selection<'_>, _: &mut dyn FnMut() -> u32) -> Result<Pick<()>, NoServer> {
        Ok(THE_SERVER)
    }

    fn commit(&self, _: &Pick<()>, _: Instant, _: bool) -> bool {
        true
    }

    fn finished(&self, _: &Finished) {}

    fn answered(&self, _: &Finished) {}

    fn released(&self, _: ServerId) {}

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.shared.settings.backup_delay(&self.held, now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.shared.settings.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.shared.settings.may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.shared.settings.ended(call);
    }
}

impl<T, R, C> Addresses for OneServer<T, R, C> {
    type Address = ();

    fn address_of(&self, _: ServerId) -> Option<()> {
        Some(())
    }
}

//! Faults on purpose, to test how a channel handles them: [`Faults`].

use std::fmt;
use std::future::Future;

use hedge_core::bounded::Ratio;
use hedge_core::drive::{Along, AttemptInfo, SendTransport, Timer};
use hedge_core::policy::Idempotency;
use hedge_core::random::Seeds;
use hedge_core::time::{Duration, Instant, Timeout};
use hedge_fleet::{CallOptions, Caller};

/// A transport that delays or aborts a share of the attempts of another transport, or a caller that does this to the calls
/// of another caller. With it, a program tries its retries and backups before a server or a whole cluster is slow or down.
///
/// Each attempt draws once for a delay and once for an abort. The draws of an attempt depend only on the seed and on how
/// many attempts have started before it. An attempt that draws both is aborted after the delay. An aborted attempt sends
/// nothing. The program makes its result: an error, or a reply such as HTTP's status 503. The retry policy judges it like
/// any other result. The call's deadline and the attempt timeout end a delay, as they end any attempt. Time to connect
/// counts from the end of the delay, so a delay isolates no server ([H1](hedge_core::rules#H1)).
///
/// Around a caller ([`of_calls`](Self::of_calls)), all this applies to calls. A delay counts against the timeout that the
/// options of the call set. Every sub-call of a channel of channels has such a timeout. A cancel takes effect at the end
/// of the delay.
///
/// ```
/// use std::time::Duration;
///
/// use hedge_compose::{FaultOptions, Faults};
/// use hedge_core::bounded::Ratio;
/// use hedge_core::drive::{SendTransport, Timer};
///
/// /// One attempt in twenty takes a second longer, and one in a hundred fails. How well do backups hide this?
/// fn tried<T: SendTransport, R: Timer>(
///     transport: T,
///     timer: R,
///     broken: fn() -> T::Error,
/// ) -> Faults<T, R, impl Fn() -> Result<T::Reply, T::Error>> {
///     let options = FaultOptions::new(7)
///         .with_delay(Ratio::of_percent::<5>(), Duration::from_secs(1))
///         .with_abort(Ratio::of_percent::<1>());
///     Faults::new(transport, timer, options, move || Err(broken()))
/// }
/// ```
///
/// ```
/// # use std::time::Duration;
/// # use hedge_compose::{FaultOptions, Faults, Selective, BuildError};
/// # use hedge_core::bounded::Ratio;
/// # use hedge_core::drive::Timer;
/// use hedge_fleet::Caller;
///
/// /// One call in two of the first cluster takes 100 ms longer. Does the backup at the second cluster hide this?
/// fn between<C: Caller<String> + Clone + 'static, R: Timer<Sleep: Send> + Clone + Send + Sync + 'static>(
///     [one, other]: [C; 2],
///     timer: R,
///     broken: fn() -> C::Error,
/// ) -> Result<impl Caller<String>, BuildError> {
///     let slow = FaultOptions::new(7).with_delay(Ratio::of_percent::<50>(), Duration::from_millis(100));
///     let around = |cluster, options| Faults::of_calls(cluster, timer.clone(), options, move || Err(broken()));
///     Selective::builder(timer.clone())
///         .backup(Duration::from_millis(10))
///         .channel("one", around(one, slow))
///         .channel("other", around(other, FaultOptions::new(8)))
///         .build()
/// }
/// ```
///
/// # Cost
/// One atomic addition for each attempt. A delay allocates only what the timer does.
pub struct Faults<T, R, F> {
    inner: T,
    timer: R,
    options: FaultOptions,
    seeds: Seeds,
    aborted: F,
}

/// Which faults happen, and how often. By default there are none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FaultOptions {
    seed: u64,
    delay: Option<(Ratio, Duration)>,
    abort: Option<Ratio>,
}

impl FaultOptions {
    /// Makes options without faults. `seed` determines the draws.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, delay: None, abort: None }
    }

    /// Returns these options with a share of attempts that wait for `delay` before they are sent.
    #[must_use]
    pub const fn with_delay(self, share: Ratio, delay: Duration) -> Self {
        Self { delay: Some((share, delay)), ..self }
    }

    /// Returns these options with a share of attempts that are aborted and not sent.
    #[must_use]
    pub const fn with_abort(self, share: Ratio) -> Self {
        Self { abort: Some(share), ..self }
    }
}

impl<T: SendTransport, R: Timer, F: Fn() -> Result<T::Reply, T::Error>> Faults<T, R, F> {
    /// Wraps a transport. Delays wait on `timer`, which must be that of the channel. `aborted` makes the
    /// result of an attempt that is aborted.
    pub fn new(transport: T, timer: R, options: FaultOptions, aborted: F) -> Self {
        Self::over(transport, timer, options, aborted)
    }
}

impl<C, R: Timer, F> Faults<C, R, F> {
    /// Wraps a caller. Delays wait on `timer`. `aborted` makes the result of a call that is aborted.
    pub fn of_calls<Request>(caller: C, timer: R, options: FaultOptions, aborted: F) -> Self
    where
        C: Caller<Request>,
        F: Fn() -> Result<C::Reply, C::Error>,
    {
        Self::over(caller, timer, options, aborted)
    }

    /// Waits until `delay` after `started`. Returns how long it took.
    async fn wait(&self, started: Instant, delay: Duration) -> Duration {
        let until = started + delay;
        // A timer may fire early.
        loop {
            let now = self.timer.now();
            if now >= until {
                return now.since(started);
            }
            self.timer.sleep_until(until).await;
        }
    }
}

impl<T, R, F> Faults<T, R, F> {
    fn over(inner: T, timer: R, options: FaultOptions, aborted: F) -> Self {
        Self { inner, timer, options, seeds: Seeds::new(options.seed), aborted }
    }

    /// Draws the faults of the next attempt: its delay, and whether it is aborted.
    fn draw(&self) -> (Option<Duration>, bool) {
        let bits = self.seeds.next();
        let hits = |share: Ratio, bits: u64| f64::from(low(bits)) < share.get() * TWO_TO_32;
        let delay = self.options.delay.filter(|(share, _)| hits(*share, bits)).map(|(_, delay)| delay);
        (delay, self.options.abort.is_some_and(|share| hits(share, bits >> 32)))
    }
}

const TWO_TO_32: f64 = 4_294_967_296.0;

/// The low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the high bits are for another draw")]
const fn low(bits: u64) -> u32 {
    bits as u32
}

impl<T, R, F> SendTransport for Faults<T, R, F>
where
    T: SendTransport<Address: Send + Sync + 'static, Request: Sync> + Sync,
    R: Timer<Sleep: Send> + Sync,
    F: Fn() -> Result<T::Reply, T::Error> + Sync,
{
    type Address = T::Address;
    type Request = T::Request;
    type Reply = T::Reply;
    type Error = T::Error;

    fn start(
        &self,
        request: &T::Request,
        attempt: AttemptInfo<T::Address>,
    ) -> impl Future<Output = Result<T::Reply, T::Error>> + Send {
        self.start_along(request, attempt, Along::NOTHING)
    }

    fn start_along(
        &self,
        request: &T::Request,
        mut attempt: AttemptInfo<T::Address>,
        along: Along<'_, T::Address>,
    ) -> impl Future<Output = Result<T::Reply, T::Error>> + Send {
        let (delay, aborts) = self.draw();
        async move {
            if let Some(delay) = delay {
                let took = self.wait(attempt.started, delay).await;
                attempt = attempt.delayed(took);
            }
            if aborts {
                return (self.aborted)();
            }
            self.inner.start_along(request, attempt, along).await
        }
    }

    fn wants_key(&self) -> bool {
        self.inner.wants_key()
    }

    fn idempotency(&self, request: &T::Request) -> Idempotency {
        self.inner.idempotency(request)
    }
}

impl<Request, C, R, F> Caller<Request> for Faults<C, R, F>
where
    Request: Sync,
    C: Caller<Request>,
    R: Timer<Sleep: Send> + Send + Sync,
    F: Fn() -> Result<C::Reply, C::Error> + Send + Sync,
{
    type Reply = C::Reply;
    type Error = C::Error;

    async fn call_with(&self, request: &Request, options: &CallOptions) -> Result<C::Reply, C::Error> {
        let (delay, aborts) = self.draw();
        let mut later = None;
        if let Some(delay) = delay {
            let limit = options.timeout.and_then(Timeout::limit);
            let took = self.wait(self.timer.now(), limit.map_or(delay, |limit| limit.min(delay))).await;
            later = limit.map(|limit| options.clone().with_timeout(limit.saturating_sub(took)));
        }
        if aborts {
            return (self.aborted)();
        }
        self.inner.call_with(request, later.as_ref().unwrap_or(options)).await
    }

    fn has_usable_server(&self) -> bool {
        self.inner.has_usable_server()
    }

    fn wants_key(&self) -> bool {
        self.inner.wants_key()
    }

    fn idempotency(&self, request: &Request) -> Idempotency {
        self.inner.idempotency(request)
    }
}

impl<T: fmt::Debug, R, F> fmt::Debug for Faults<T, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("inner", &self.inner).field("options", &self.options).finish_non_exhaustive()
    }
}

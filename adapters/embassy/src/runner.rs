//! Health checks: [`Runner`] ([H1](hedge_core::rules#H1)).

use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;

use embedded_nal_async::TcpConnect;
use hedge_core::drive::Timer as _;
use hedge_core::health::{CheckAction, CheckInput, CheckOptions, Checker};
use hedge_core::id::ServerId;
use hedge_core::time::Instant;

use crate::clock::{Clock, before};
use crate::http::exchange;
use crate::parts::Parts;
use crate::request::Request;
use crate::resources::{Memory, Resources};
use crate::shared::{Shared, State};

/// Checks the servers of a channel that could not be connected to ([H1](hedge_core::rules#H1)).
///
/// While the runner runs, a server that refuses a connection, or does not accept one in time, takes no calls until a
/// check has succeeded. A check connects to the server. A server is checked every 3 s, unless
/// [`set_options`](Self::set_options) sets another interval. Only one check is made at a time, so the stack needs one
/// more socket than there are attempts. While the runner does not run, no server is isolated because of its
/// connections. Breakers work without the runner.
///
/// While every server is isolated in this way, one call every 100 ms is let through, to the server that has been
/// isolated for the longest time ([H5](hedge_core::rules#H5)). If the server answers, it takes calls again, and the
/// other servers are checked at once. So a device whose own link was down does not wait for the next check.
///
/// Memory: the future of [`run`](Self::run) takes 312 bytes and 64 more for each server. Checks also take a socket.
pub struct Runner<'r, S, R: Memory> {
    stack: &'r S,
    shared: &'r R::Shared,
    application: Option<Application<'r>>,
}

/// The check that the application asks for, besides connecting.
struct Application<'r> {
    request: Request<'r>,
    buffer: &'r mut [u8],
}

impl<'r, S, R: Memory> Runner<'r, S, R> {
    pub(crate) fn new(stack: &'r S, shared: &'r R::Shared) -> Self {
        Self { stack, shared, application: None }
    }

    /// Adds a request to each check: the check succeeds only if the server also answers `request` with a status of 2xx,
    /// on a second connection.
    ///
    /// The answer is received into `buffer`. If it does not fit, the check fails.
    #[must_use]
    pub fn with_application_check(mut self, request: Request<'r>, buffer: &'r mut [u8]) -> Self {
        self.application = Some(Application { request, buffer });
        self
    }
}

impl<S, P, const SERVERS: usize, const SLOTS: usize, const BYTES: usize>
    Runner<'_, S, Resources<P, SERVERS, SLOTS, BYTES>>
where
    S: TcpConnect,
    P: Parts,
{
    /// Sets how often checks are made and how long one may take. [`CheckOptions::application`] is ignored:
    /// [`with_application_check`](Self::with_application_check) decides that.
    pub fn set_options(&mut self, options: CheckOptions) {
        self.shared.change(|state| state.checks = options);
    }

    /// Makes checks as long as the future is polled, so run it in a task of its own. When the future is dropped, all
    /// servers that were isolated because of their connections take calls again.
    pub async fn run(&mut self) -> Infallible {
        let Self { stack, shared, application } = self;
        let _watch = Watch::new(shared);
        let mut checkers = [const { None }; SERVERS];
        loop {
            let mut next = Instant::NEVER;
            let hurried = shared.change(State::take_hurried);
            for (slot, checker) in (0..).zip(&mut checkers) {
                let until = check(*stack, shared, application, (slot, hurried), checker).await;
                next = next.min(until.unwrap_or(Instant::NEVER));
            }
            // The next round begins at the end of the wait, or when a call has news.
            let news = poll_fn(|cx| shared.change(|state| state.poll_news(cx)));
            let _ = before(next, news).await;
        }
    }
}

/// Makes the steps of a check that are due now, for the server in a slot. If `hurried`, the check is due at once.
/// Returns the instant at which the check must be continued; `None` if the server needs no check.
async fn check<S: TcpConnect, P: Parts, const SERVERS: usize>(
    stack: &S,
    shared: &Shared<P, SERVERS>,
    application: &mut Option<Application<'_>>,
    (slot, mut hurried): (u16, bool),
    checked: &mut Option<(ServerId, Checker)>,
) -> Option<Instant> {
    loop {
        let now = Clock.now();
        let broken = shared.with(|state| {
            let cluster = state.servers.cluster();
            let server = cluster.in_slot(slot).filter(|server| state.is_broken(*server))?;
            Some((server, *cluster.address(server)?, state.checks))
        });
        let Some((server, address, mut options)) = broken else {
            *checked = None;
            return None;
        };
        options.application = application.is_some();
        let checker = match checked {
            Some((of, checker)) if *of == server => checker,
            _ => {
                let mut checker = Checker::new(options, &shared.seeds);
                checker.handle(now, CheckInput::Broken);
                &mut checked.insert((server, checker)).1
            }
        };
        checker.set_interval(options.interval);
        let (check, passed) = match checker.poll(now) {
            CheckAction::Publish { usable: true } => {
                info!("server {} is back", server);
                shared.with(|state| state.servers.set_broken(server, false, now));
                *checked = None;
                return None;
            }
            // There is nothing to do. The call that found the server broken has isolated it already, and an abandoned
            // step has been dropped already.
            CheckAction::Publish { usable: false } | CheckAction::Abandon { .. } => continue,
            CheckAction::Wait { .. } if core::mem::take(&mut hurried) => {
                checker.handle(now, CheckInput::Now);
                continue;
            }
            CheckAction::Wait { until } => return until,
            CheckAction::Done => return None,
            CheckAction::Connect { check, until } => {
                let connected = before(until, unless_hurried(shared, pin!(stack.connect(address)))).await;
                (check, matches!(connected, Ok(Some(Ok(_)))))
            }
            CheckAction::Ask { check, until } => {
                (check, before(until, passes(stack, application, address)).await.unwrap_or(false))
            }
        };
        debug!("check of server {}: {}", server, if passed { "passed" } else { "failed" });
        checker.handle(Clock.now(), if passed { CheckInput::Passed { check } } else { CheckInput::Failed { check } });
    }
}

/// Runs a step of a check. Returns `None` if all checks became due meanwhile.
async fn unless_hurried<F: Future, P: Parts, const SERVERS: usize>(
    shared: &Shared<P, SERVERS>,
    mut step: Pin<&mut F>,
) -> Option<F::Output> {
    poll_fn(|cx| match shared.change(|state| state.poll_hurried(cx)) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => step.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Whether a server passes the application's check.
async fn passes<S: TcpConnect>(stack: &S, application: &mut Option<Application<'_>>, address: SocketAddr) -> bool {
    let Some(Application { request, buffer }) = application else { return true };
    let Ok(head) = request.write_head(address, buffer) else { return false };
    let Ok(mut connection) = stack.connect(address).await else { return false };
    let answer = exchange(&mut connection, request, head, buffer).await;
    answer.is_ok_and(|layout| (200..300).contains(&layout.status()))
}

/// While this value exists, servers may be isolated, since the runner checks them.
struct Watch<'r, P: Parts, const SERVERS: usize>(&'r Shared<P, SERVERS>);

impl<'r, P: Parts, const SERVERS: usize> Watch<'r, P, SERVERS> {
    fn new(shared: &'r Shared<P, SERVERS>) -> Self {
        shared.change(|state| state.watched = true);
        Self(shared)
    }
}

impl<P: Parts, const SERVERS: usize> Drop for Watch<'_, P, SERVERS> {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.watched = false;
            for (server, _) in state.servers.cluster().iter() {
                state.servers.set_broken(server, false, Clock.now());
            }
        });
    }
}

impl<S, R: Memory> fmt::Debug for Runner<'_, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("application", &self.application.is_some()).finish_non_exhaustive()
    }
}

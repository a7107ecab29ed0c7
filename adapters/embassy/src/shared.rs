//! The state that the calls of a channel share: [`Shared`].

use core::cell::RefCell;
use core::fmt;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::waitqueue::WakerRegistration;
use hedge_core::balance::{Balancer, NoServer, Pick, Selection};
use hedge_core::call::Host;
use hedge_core::channel::Channel;
use hedge_core::drive::Addresses;
use hedge_core::health::CheckOptions;
use hedge_core::id::ServerId;
use hedge_core::outcome::{Code, Denial, ErrorKind, Feedback, Finished};
use hedge_core::policy::{BackupDelay, BackupPolicy, ChannelOptions, Ended, Idempotency, NoPolicy};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::parts::Parts;

/// The servers and the balancer: a channel of hedge-core. The policy of this channel is [`NoPolicy`]. The program's
/// policy is kept outside of it, so that the program's policy does not run in a critical section.
pub(crate) type Servers<P, const SERVERS: usize> =
    Channel<SocketAddr, <P as Parts>::Balancer, NoPolicy, <P as Parts>::Tag, SERVERS, <P as Parts>::Breaker>;

/// The data that the balancer returns with a picked server, and needs again when an attempt starts there.
type Ticket<P> = <<P as Parts>::Balancer as Balancer>::Ticket;

/// The state that the calls of a channel share.
pub struct Shared<P: Parts, const SERVERS: usize> {
    pub(crate) options: ChannelOptions,
    pub(crate) seeds: Seeds,
    pub(crate) policy: P::Policy,
    pub(crate) state: Mutex<P::Mutex, RefCell<State<P, SERVERS>>>,
}

/// The state that is read and changed in critical sections.
pub(crate) struct State<P: Parts, const SERVERS: usize> {
    pub(crate) servers: Servers<P, SERVERS>,
    pub(crate) checks: CheckOptions,
    /// True while the runner runs. Without the runner no server is isolated, since no check would end the isolation.
    pub(crate) watched: bool,
    /// Whether the runner has to look at the servers again.
    news: bool,
    /// Whether all checks are due at once, since a server has answered a call while all servers were isolated
    /// ([H5](hedge_core::rules#H5)).
    hurried: bool,
    runner: WakerRegistration,
}

impl<P: Parts, const SERVERS: usize> State<P, SERVERS> {
    pub(crate) fn new(servers: Servers<P, SERVERS>) -> Self {
        Self {
            servers,
            checks: CheckOptions::DEFAULT,
            watched: false,
            news: false,
            hurried: false,
            runner: WakerRegistration::new(),
        }
    }

    /// Makes the runner look at the servers again.
    pub(crate) fn tell(&mut self) {
        self.news = true;
        self.runner.wake();
    }

    /// Returns whether all checks are due at once, and resets this to false.
    pub(crate) fn take_hurried(&mut self) -> bool {
        core::mem::take(&mut self.hurried)
    }

    /// Ready once all checks are due at once.
    pub(crate) fn poll_hurried(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.hurried {
            return Poll::Ready(());
        }
        self.runner.register(cx.waker());
        Poll::Pending
    }

    /// Ready once the runner has to look at the servers again.
    pub(crate) fn poll_news(&mut self, cx: &Context<'_>) -> Poll<()> {
        if core::mem::take(&mut self.news) {
            return Poll::Ready(());
        }
        self.runner.register(cx.waker());
        Poll::Pending
    }

    /// Whether a server is isolated because it could not be connected to.
    pub(crate) fn is_broken(&self, server: ServerId) -> bool {
        self.servers.cluster().state(server).is_some_and(|record| record.health().is_broken())
    }

    /// Isolates a server that cannot be connected to, until a check of this server has succeeded
    /// ([H1](hedge_core::rules#H1)).
    fn broke(&mut self, server: ServerId, now: Instant) {
        if self.watched && !self.is_broken(server) && self.servers.set_broken(server, true, now) {
            warn!("server {} cannot be connected to: isolated", server);
            self.tell();
        }
    }

    /// Called when an isolated server has answered a call that was let through to it ([H5](hedge_core::rules#H5)).
    fn came_back(&mut self, server: ServerId) {
        info!("server {} answers again", server);
        self.hurried = true;
        self.tell();
    }
}

impl<P: Parts, const SERVERS: usize> Shared<P, SERVERS> {
    /// Reads the state in a critical section.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&State<P, SERVERS>) -> R) -> R {
        self.state.lock(|state| look(&state.borrow()))
    }

    /// Changes the state in a critical section.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State<P, SERVERS>) -> R) -> R {
        self.state.lock(|state| change(&mut state.borrow_mut()))
    }
}

/// The channel as the host of one call.
pub(crate) struct CallHost<'r, P: Parts, const SERVERS: usize> {
    pub(crate) shared: &'r Shared<P, SERVERS>,
    /// Whether the call's request may be sent twice.
    pub(crate) idempotency: Idempotency,
}

impl<P: Parts, const SERVERS: usize> CallHost<'_, P, SERVERS> {
    /// Whether an attempt that could not connect had at least the channel's connect timeout for connecting
    /// ([H1](hedge_core::rules#H1)). If it had only the shorter timeout of a single call, the server is not blamed.
    fn had_time_to_connect(&self, attempt: &Finished) -> bool {
        self.shared.options.connect_timeout.limit_micros().is_some_and(|timeout| attempt.feedback.elapsed() >= timeout)
    }
}

impl<P: Parts, const SERVERS: usize> Host for CallHost<'_, P, SERVERS> {
    type Ticket = Ticket<P>;

    fn options(&self) -> &ChannelOptions {
        &self.shared.options
    }

    fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    fn seeds(&self) -> &Seeds {
        &self.shared.seeds
    }

    fn addresses(&self) -> usize {
        self.shared.with(|state| state.servers.addresses())
    }

    fn needs_request_code(&self) -> bool {
        self.shared.with(|state| state.servers.needs_request_code())
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Ticket<P>>, NoServer> {
        self.shared.with(|state| state.servers.look(selection, random))
    }

    fn commit(&self, pick: &Pick<Ticket<P>>, now: Instant, insist: bool) -> bool {
        self.shared.with(|state| state.servers.commit(pick, now, insist))
    }

    fn finished(&self, attempt: &Finished) {
        let (id, server, code) = (attempt.sent.attempt, attempt.sent.server, attempt.code);
        match attempt.feedback {
            Feedback::Success { .. } => debug!("attempt {} at server {}: answered", id, server),
            Feedback::Failure { .. } => debug!("attempt {} at server {}: {}", id, server, code),
            Feedback::Abandoned { .. } => debug!("attempt {} at server {}: given up", id, server),
            Feedback::Local { .. } => debug!("attempt {} at server {} not sent: {}", id, server, code),
        }
        let broke = code == Code::from(ErrorKind::Refused)
            || code == Code::from(ErrorKind::ConnectTimeout) && self.had_time_to_connect(attempt);
        self.shared.change(|state| {
            let was_broken = state.is_broken(server);
            state.servers.finished(attempt);
            if broke {
                state.broke(server, attempt.now);
            } else if was_broken && !state.is_broken(server) {
                state.came_back(server);
            }
        });
    }

    // An attempt returns a complete response, even if the options of the call ask for a stream. So no body is left to
    // read, and the attempt has ended.
    fn answered(&self, attempt: &Finished) {
        self.finished(attempt);
    }

    fn released(&self, _: ServerId) {}

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.shared.policy.delay(now).unwrap_or(self.shared.options.backup)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.shared.policy.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.shared.policy.may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.shared.policy.ended(call);
    }
}

impl<P: Parts, const SERVERS: usize> Addresses for CallHost<'_, P, SERVERS> {
    type Address = SocketAddr;

    fn address_of(&self, server: ServerId) -> Option<SocketAddr> {
        self.shared.with(|state| state.servers.cluster().address(server).copied())
    }
}

impl<P: Parts, const SERVERS: usize> fmt::Debug for Shared<P, SERVERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

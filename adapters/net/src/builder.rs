//! How a channel is made: [`Builder`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hedge_core::balance::{AnyBalancer, Seeds, UnknownBalancer};
use hedge_core::call::Call;
use hedge_core::drive::SendTransport;
use hedge_core::limit::{Counted, LimitOptions, Limits};
use hedge_core::policy::{
    self, Backoff, BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, FailMode, Idempotency,
    RetryPolicy, Timeout,
};
use hedge_core::time::Instant;

use crate::address::Address;
use crate::channel::{Channel, Inner, Judge};
use crate::host::{CallHost, MAX_ATTEMPTS, Shared};
use crate::http::{Http, HttpRetryPolicy};
use crate::naming::{NameError, Named};
use crate::node::{MAX_SERVERS, Servers};
use crate::runtime::Runtime;
use crate::stream::Streaming;

/// How many backups a call may send: as many attempts fewer one as it has room for in flight.
const MAX_BACKUPS: u8 = 3;

/// A channel to be. Every setter has a default, and what is wrong shows in [`Builder::build`].
#[must_use = "a builder does nothing until it is built"]
pub struct Builder<R, T: SendTransport<Request: Sized>> {
    runtime: R,
    transport: T,
    servers: Box<str>,
    options: ChannelOptions,
    limits: LimitOptions,
    policy: Option<Arc<dyn BackupPolicy + Send + Sync>>,
    retry_policy: Judge<T::Reply, T::Error>,
    streaming: Option<Streaming<T>>,
    balancer: Option<Box<str>>,
    seed: Option<u64>,
}

impl<R: Runtime> Builder<R, Http<R>> {
    pub(crate) fn http(runtime: R, servers: &str) -> Self {
        let transport = Http::new(runtime.clone());
        Self::new(runtime, transport, servers, HttpRetryPolicy, Some(Http::STREAMING))
    }

    /// The largest body that is read into memory, in bytes. Default 16 MiB. A longer one is an error of its attempt, which
    /// is not retried.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.transport = self.transport.max_body(bytes);
        self
    }

    /// How many idle connections are kept for each address. Default 100, as brpc's `max_connection_pool_size`; 0 keeps
    /// none. Connections in use are not limited.
    pub fn max_idle_per_server(mut self, connections: usize) -> Self {
        self.transport = self.transport.max_idle_per_server(connections);
        self
    }

    /// After how long an idle connection is closed. Default 10 s, as brpc's `idle_timeout_second`.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.transport = self.transport.idle_timeout(timeout);
        self
    }
}

impl<R, T> Builder<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    pub(crate) fn new(
        runtime: R,
        transport: T,
        servers: &str,
        retry_policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static,
        streaming: Option<Streaming<T>>,
    ) -> Self {
        Self {
            runtime,
            transport,
            servers: servers.into(),
            options: ChannelOptions::brpc(),
            limits: LimitOptions::SAFE,
            policy: None,
            retry_policy: Judge(Box::new(retry_policy)),
            streaming,
            balancer: None,
            seed: None,
        }
    }

    /// All of the core's options at once; setters that follow change single ones. Default: brpc's.
    pub fn options(mut self, options: ChannelOptions) -> Self {
        self.options = options;
        self
    }

    /// From a call's start to its end, retries and backups included. Default 500 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Timeout::After(timeout.into());
        self
    }

    /// For making one connection; never beyond the deadline. Default 200 ms.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = Timeout::After(timeout.into());
        self
    }

    /// How many attempts may follow the first, retries and backups together. Default 3; 0 disables both; more than 7 is
    /// [`BuildError::Options`].
    pub fn max_retry(mut self, attempts: u8) -> Self {
        self.options.max_retry = attempts;
        self
    }

    /// Sends a backup to another server after `delay` without an answer. Default: none is sent.
    pub fn backup(mut self, delay: Duration) -> Self {
        self.options.backup = BackupDelay::After(delay.into());
        self
    }

    /// How many backups a call may send, each a delay after the last. Default 1; 0 disables them; more than 3 is
    /// [`BuildError::Options`].
    pub fn max_backups(mut self, backups: u8) -> Self {
        self.options.max_backups = backups;
        self
    }

    /// Sets retries, where they go, and the backup as one of rpcx's modes does. Default `FailOver`.
    pub fn fail_mode(mut self, mode: FailMode) -> Self {
        self.options = self.options.with_fail_mode(mode);
        self
    }

    /// Whether an extra attempt may go to an address that is still working on the call. Default false.
    pub fn same_server_backup(mut self, allowed: bool) -> Self {
        self.options.same_server_backup = allowed;
        self
    }

    /// How long a retry waits. Default: not at all. Bounds that contradict each other are [`BuildError::Options`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// Whether requests may be sent twice that neither the call nor the transport speaks of. Default `Unset`: they may.
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.options.idempotency = idempotency;
        self
    }

    /// What backups and retries are limited to (B3 to B6). Default: [`LimitOptions::SAFE`], backups for at most a tenth of the
    /// calls, and a budget for retries and backups (B8). [`LimitOptions::NONE`] is no limit: when every server is slow, each
    /// of them is sent everything twice.
    pub fn limits(mut self, limits: LimitOptions) -> Self {
        self.limits = limits;
        self
    }

    /// Who decides on backups and retries of this channel. Default: nobody refuses.
    pub fn backup_policy(mut self, policy: Arc<dyn BackupPolicy + Send + Sync>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// What a result means. It sees replies too and may ask for a retry of them. Default for HTTP:
    /// [`HttpRetryPolicy`]; for other transports: every reply is accepted, errors are judged by their kind.
    pub fn retry_policy(mut self, policy: impl RetryPolicy<T::Reply, T::Error> + Send + Sync + 'static) -> Self {
        self.retry_policy = Judge(Box::new(policy));
        self
    }

    /// How a server is chosen: `rr` or `random`. One `host:port` needs none; a naming URL without one is
    /// [`BuildError::NoBalancer`], an unknown name [`BuildError::Balancer`].
    pub fn load_balancer(mut self, name: &str) -> Self {
        self.balancer = Some(name.into());
        self
    }

    /// Where all of the channel's chance comes from. Default: the operating system's randomness.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The channel. Nothing is connected yet.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn build(self) -> Result<Channel<R, T>, BuildError> {
        let Named { servers: list, is_url } = Named::parse(&self.servers).map_err(BuildError::Servers)?;
        if list.is_empty() {
            return Err(BuildError::NoServers);
        }
        if list.len() > usize::from(MAX_SERVERS) {
            return Err(BuildError::TooManyServers { servers: list.len() });
        }
        let name = match &self.balancer {
            Some(name) => name,
            None if is_url => return Err(BuildError::NoBalancer { servers: self.servers }),
            None => "rr",
        };
        let seed = self.seed.unwrap_or_else(random_seed);
        let balancer =
            AnyBalancer::named(name, seed).map_err(|error| BuildError::Balancer { name: name.into(), error })?;
        if self.options.max_backups > MAX_BACKUPS {
            let (max_backups, slots) = (self.options.max_backups, usize::from(MAX_BACKUPS) + 1);
            return Err(BuildError::Options(ConfigError::TooManyInFlight { max_backups, slots }));
        }
        let servers = Servers::default();
        servers.set(list);
        let Self { runtime, transport, options, limits, policy, retry_policy, streaming, .. } = self;
        let limits = Limits::new(limits).map_err(|error| BuildError::Options(error.into()))?;
        let policy = Counted::new((limits, policy.map(policy::Shared)));
        let shared = Shared { servers, balancer, options, policy, seeds: Seeds::new(seed) };
        let blank = {
            // A call that is never polled: it checks the options against what a call holds.
            let host = CallHost::new(&shared);
            let options = CallOptions::new();
            let call = Call::<_, MAX_ATTEMPTS>::new(&host, &options, Instant::ZERO).map_err(BuildError::Options)?;
            call.report().clone()
        };
        Ok(Channel::from_inner(Inner { runtime, transport, shared, retry_policy, streaming, blank }))
    }
}

impl<R, T: SendTransport<Request: Sized>> fmt::Debug for Builder<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("servers", &self.servers)
            .field("options", &self.options)
            .field("balancer", &self.balancer)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// std's own hasher keys are the operating system's randomness, so a dependency less.
fn random_seed() -> u64 {
    RandomState::new().hash_one(())
}

/// Why a channel cannot be built.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The text names no servers.
    Servers(NameError),
    /// The list is empty: there is nothing to call.
    NoServers,
    /// The list is longer than a channel holds.
    TooManyServers {
        /// How many there are.
        servers: usize,
    },
    /// A naming URL needs a balancer (N4).
    NoBalancer {
        /// The URL.
        servers: Box<str>,
    },
    /// No balancer has that name.
    Balancer {
        /// The name.
        name: Box<str>,
        /// Which are known.
        error: UnknownBalancer,
    },
    /// Options that cannot be carried out.
    Options(ConfigError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(error) => error.fmt(f),
            Self::NoServers => f.write_str("the list of servers is empty"),
            Self::TooManyServers { servers } => write!(f, "{servers} servers: a channel holds {MAX_SERVERS}"),
            Self::NoBalancer { servers } => {
                write!(f, "{servers:?} needs a load balancer: add .load_balancer(\"rr\"), or name one host:port")
            }
            Self::Balancer { name, error } => write!(f, "load balancer {name:?}: {error}"),
            Self::Options(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

//! Builds a layer or a set: [`Builder`].

use std::fmt;

use hedge_core::balance::BalancerError;
use hedge_core::config::{self, Warnings};
use hedge_core::policy::ConfigError;
use hedge_fleet::{Balancer, Servers, Setup};

use crate::set::MAX_SERVERS;
use crate::shared::{AttemptPolicy, Shared};
use crate::{HedgeLayer, HedgeSet, Plain, RetryErrors};

/// A builder of a layer or a set. Calls use `timer` as their clock and for waiting.
pub fn builder<T>(timer: T) -> Builder<T> {
    Builder { timer, retry_policy: RetryErrors, protocol: Plain, setup: Setup::new(), unsupported: None }
}

/// Makes a [`HedgeLayer`] or a [`HedgeSet`]. The defaults are brpc's: a timeout of 500 ms, 3 retries, no backups.
///
/// These options have an effect on a set only, since a layer does not choose among servers:
/// [`load_balancer`](Self::load_balancer), by default `rr`; [`circuit_breaker`](Self::circuit_breaker);
/// [`isolation_limit`](Self::isolation_limit); [`recovery`](Self::recovery);
/// [`max_in_flight_per_server`](Self::max_in_flight_per_server) with its queue; and [`slow_start`](Self::slow_start).
///
/// With a slow start, insert the first servers in one step ([`HedgeSet::apply`]), since servers that come later begin
/// with a tenth of their share. A set sends no probes, so `prequal` works as `p2c` in a set. If a server does not
/// become ready in time, its attempt is abandoned, so the circuit breaker does not count a failure. A connect timeout
/// has no effect, since the services make the connections.
#[must_use = "it is not built yet"]
pub struct Builder<T, R = RetryErrors, C = Plain> {
    timer: T,
    retry_policy: R,
    protocol: C,
    setup: Setup,
    /// A field that the file sets, but that a layer or a set does not support.
    unsupported: Option<&'static str>,
}

impl<T, R, C> Builder<T, R, C> {
    hedge_fleet::setters!();

    /// Applies the rest of a file. There is nothing to apply, since the program brings the services and connects to the
    /// servers. A field about these is remembered as unsupported.
    #[cfg(feature = "serde")]
    fn applied(mut self, config: &config::ChannelConfig) -> Self {
        let named = [
            ("servers", config.servers.is_some()),
            ("protocol", config.protocol.is_some()),
            ("connection_type", config.connection_type.is_some()),
            ("health_checks", config.health_checks.is_some()),
        ];
        self.unsupported = named.into_iter().find_map(|(field, is_named)| is_named.then_some(field));
        self
    }

    /// Sets the retry policy, which decides whether a result is accepted or retried. Default: [`RetryErrors`].
    pub fn retry_policy<Other>(self, retry_policy: Other) -> Builder<T, Other, C> {
        let Self { timer, retry_policy: _, protocol, setup, unsupported } = self;
        Builder { timer, retry_policy, protocol, setup, unsupported }
    }

    /// Sets the protocol, which says how requests are copied, and what is put into requests and responses. Default:
    /// [`Plain`].
    pub fn protocol<Other>(self, protocol: Other) -> Builder<T, R, Other> {
        let Self { timer, retry_policy, protocol: _, setup, unsupported } = self;
        Builder { timer, retry_policy, protocol, setup, unsupported }
    }

    /// Sets [`Http`](crate::Http) as the protocol and as the retry policy.
    #[cfg(feature = "http")]
    pub fn http(self) -> Builder<T, crate::Http, crate::Http> {
        self.retry_policy(crate::Http::new()).protocol(crate::Http::new())
    }

    /// Warnings about settings that are valid but contradict each other or have no effect, such as a backup delay that
    /// is not below the timeout. Each warning says what to write instead. A layer or a set can be built in spite of
    /// warnings. A program should print them when it starts.
    ///
    /// This method asks the policy for its delay once. The number of servers is not known yet, so no warning depends on
    /// it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let builder = hedge_tower::builder(hedge_tokio::Tokio::new()).max_retry(0).backup(Duration::from_millis(10));
    /// for warning in builder.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        config::Setup { connects: false, ..self.setup.warning_input() }.warnings()
    }

    /// Builds a layer. Extra attempts go to the same service, so `same_server_backup` is set.
    ///
    /// # Errors
    /// [`BuildError::Options`] or [`BuildError::Unsupported`].
    pub fn layer(mut self) -> Result<HedgeLayer<T, R, C>, BuildError> {
        self.setup.options.same_server_backup = true;
        let seed = self.setup.seed();
        self.shared(seed).map(HedgeLayer::new)
    }

    /// Builds a set without servers. [`HedgeSet::insert`] and [`HedgeSet::follow`] add servers.
    ///
    /// # Errors
    /// The first setting that is invalid or not supported; see [`BuildError`].
    pub fn set<K, S>(self) -> Result<HedgeSet<K, S, T, R, C>, BuildError> {
        let seed = self.setup.seed();
        let name = self.setup.balancer.as_deref().unwrap_or("rr");
        let balancer =
            Balancer::named(name, seed).map_err(|error| BuildError::Balancer { name: name.into(), error })?;
        let health = self.setup.health();
        let servers = Servers::new(balancer, health, MAX_SERVERS).with_limits(&self.setup.server_limits);
        let shared = self.shared(seed)?;
        Ok(HedgeSet::new(shared, servers))
    }

    fn shared(self, seed: u64) -> Result<Shared<T, R, C>, BuildError> {
        let Self { timer, retry_policy, protocol, mut setup, unsupported } = self;
        if let Some(field) = unsupported {
            return Err(BuildError::Unsupported { field });
        }
        setup.make_adaptive();
        let settings = setup.into_settings(seed).map_err(BuildError::Options)?;
        Ok(Shared { settings, timer, retry_policy: AttemptPolicy(retry_policy), protocol })
    }
}

impl<T, R, C> fmt::Debug for Builder<T, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// Why a layer or a set cannot be built.
///
/// `Debug` shows the text of the error too, because a `main` that returns the error prints its `Debug` text.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no balancer of this name, or its parameters are not valid.
    Balancer {
        /// The name, with the parameters.
        name: Box<str>,
        /// What is wrong with the name or the parameters.
        error: BalancerError,
    },
    /// Options that cannot be carried out.
    Options(ConfigError),
    /// A file names something that a layer or a set does not have.
    Unsupported {
        /// The field of the file.
        field: &'static str,
    },
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError: {self}")
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer { name, error } => write!(f, "load balancer {name:?}: {error}"),
            Self::Options(error) => error.fmt(f),
            Self::Unsupported { field } => {
                write!(f, "{field}: the program brings its services, so a file cannot set this here; leave it out")
            }
        }
    }
}

impl std::error::Error for BuildError {}

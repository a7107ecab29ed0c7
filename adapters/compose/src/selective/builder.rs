//! Builds a channel of channels: [`SelectiveBuilder`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hedge_core::config::{self, Warnings};
use hedge_core::drive::Timer;
use hedge_fleet::Setup;

use super::{Inner, Selective};
use crate::build_error::BuildError;
use crate::judge::OutcomePolicy;
use crate::machine::{Change, Machine};

/// Makes a [`Selective`]. The defaults are brpc's: a timeout of 500 ms, 3 retries, no backups. The default balancer is
/// `rr`. Settings of servers, such as the circuit breaker, `max_in_flight_per_server` and `slow_start`, apply to the
/// sub-channels, because the sub-channels are the servers of this channel.
#[must_use = "it is not built yet"]
pub struct SelectiveBuilder<C, T, R = OutcomePolicy> {
    timer: T,
    retry_policy: R,
    setup: Setup,
    name: Box<str>,
    channels: Vec<(Arc<str>, C, Option<NonZeroU32>)>,
    /// A field that the file sets, but that a channel of channels does not support.
    unsupported: Option<&'static str>,
}

impl<C, T> SelectiveBuilder<C, T> {
    pub(super) fn new(timer: T) -> Self {
        let (setup, name) = (Setup::new(), "selective".into());
        Self { timer, retry_policy: OutcomePolicy, setup, name, channels: Vec::new(), unsupported: None }
    }
}

impl<C, T, R> SelectiveBuilder<C, T, R> {
    hedge_fleet::setters!();

    /// Checks the rest of a file. Nothing of it is applied, since the program brings the sub-channels. The first field
    /// about servers or connections that the file sets is stored, and `build` returns it as an error.
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

    /// Sets the name of the channel, for [`Inspect`](hedge_fleet::Inspect). Default: `selective`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a sub-channel under a name.
    pub fn channel(mut self, name: impl Into<Arc<str>>, channel: C) -> Self {
        self.channels.push((name.into(), channel, None));
        self
    }

    /// Adds a sub-channel with this weight. The balancers `wrr`, `wr` and `p2c` use weights.
    pub fn weighted_channel(mut self, name: impl Into<Arc<str>>, channel: C, weight: NonZeroU32) -> Self {
        self.channels.push((name.into(), channel, Some(weight)));
        self
    }

    /// Sets the retry policy, which judges the results of sub-calls. Default: [`OutcomePolicy`].
    pub fn retry_policy<Other>(self, retry_policy: Other) -> SelectiveBuilder<C, T, Other> {
        let Self { timer, retry_policy: _, setup, name, channels, unsupported } = self;
        SelectiveBuilder { timer, retry_policy, setup, name, channels, unsupported }
    }

    /// Returns warnings about settings that are valid but contradict each other or have no effect. Each warning says
    /// what to write instead.
    #[must_use]
    pub fn warnings(&self) -> Warnings {
        config::Setup { connects: false, ..self.setup.warning_input() }.warnings()
    }

    /// Builds the channel. More sub-channels can be added later.
    ///
    /// # Errors
    /// The first setting that is invalid or not supported; see [`BuildError`].
    pub fn build(self) -> Result<Selective<C, T, R>, BuildError>
    where
        C: 'static,
        T: Timer,
    {
        let Self { timer, retry_policy, setup, name, channels, unsupported } = self;
        if let Some(field) = unsupported {
            return Err(BuildError::Unsupported { field });
        }
        let mut names: Vec<_> = channels.iter().map(|(name, ..)| name).collect();
        names.sort_unstable();
        if let Some((name, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, other)| one == other) {
            return Err(BuildError::SameName(Arc::clone(name)));
        }
        let machine = Machine::new(setup, timer, "rr")?;
        let count = channels.len();
        let inserts = channels.into_iter().map(|(name, channel, weight)| Change::Insert(name, channel, weight));
        if machine.apply(inserts)? < count {
            return Err(BuildError::List(hedge_core::cluster::ClusterError::Full));
        }
        Ok(Selective { inner: Arc::new(Inner { name, machine, retry_policy }) })
    }
}

impl<C, T, R> fmt::Debug for SelectiveBuilder<C, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.channels.iter().map(|(name, ..)| name).collect();
        f.debug_struct("SelectiveBuilder").field("channels", &names).field("setup", &self.setup).finish_non_exhaustive()
    }
}

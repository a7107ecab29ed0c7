//! Replaces the options of a channel that runs.

#[cfg(feature = "serde")]
mod file;

use hedge_core::config::{self, Warnings};
use hedge_core::drive::SendTransport;
use hedge_core::policy::ConfigError;
use hedge_fleet::{Address, ReplaceableOptions};
use hedge_link::Runtime;

#[cfg(feature = "serde")]
pub use self::file::{Applied, SetConfigError};
use crate::channel::Channel;

impl<R, T> Channel<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// A copy of the options in force: those of the builder, or those that have replaced them.
    pub fn options(&self) -> ReplaceableOptions {
        self.inner().settings.options()
    }

    /// Replaces all options that can be replaced while the channel runs. Calls that start from now on have the new
    /// options. A call in flight keeps its own to its end, except that new limits apply to it too. No call sees a mixture.
    /// [`ReplaceableOptions`] says which options there are, and what stays of what was learned. The interval of the checks
    /// has a method of its own, [`set_check_interval`](Self::set_check_interval).
    ///
    /// The result is the warnings that a builder with these options would give, for the servers of the present list. It
    /// asks the policy for its delay once.
    ///
    /// If two threads replace options at once, the later one wins. So let one place of a program do it.
    ///
    /// # Errors
    /// The first option that cannot be carried out, as [`Builder::build`](crate::Builder::build) reports it. Nothing is
    /// changed then.
    ///
    /// # Cost
    /// Until the first replacement, a call loads one flag when it starts, one for each extra attempt, and one when it
    /// ends. After it, the start of a call does three atomic operations that change memory, each of the others two, and
    /// the end one more. So a call without extra attempts does six, of which two are on a count that all calls share. A
    /// call still takes no lock and allocates nothing.
    ///
    /// A replacement takes a lock against other replacements, allocates less than 2 KB, and copies the list of servers if
    /// the breaker, its limit or the recovery changes. The old options are freed with the last call that holds them.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use hedge_net::{ConfigError, Runtime, http::Http};
    /// fn hedge_later<R: Runtime>(channel: &hedge_net::Channel<R, Http<R>>) -> Result<(), ConfigError> {
    ///     let options = channel.options().with_timeout(Duration::from_millis(300)).with_backup(Duration::from_millis(40));
    ///     for warning in channel.set_options(options)? {
    ///         eprintln!("warning: {warning}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn set_options(&self, options: ReplaceableOptions) -> Result<Warnings, ConfigError> {
        self.replace(|_| options)
    }

    /// Replaces the options of calls and the limits by those of a file, as [`Builder::config`](crate::Builder::config)
    /// does before the channel is built. Breaker, isolation limit and recovery are replaced too if the file names them.
    /// What cannot be replaced in a channel that runs stays, even if the file names it: see [`ReplaceableOptions`]. For
    /// the result and the cost, see [`set_options`](Self::set_options).
    ///
    /// # Errors
    /// The first option that cannot be carried out. Nothing is changed then.
    #[cfg(feature = "serde")]
    pub fn set_config(&self, config: &config::ChannelConfig) -> Result<Warnings, ConfigError> {
        self.replace(|old| old.clone().with_config(config))
    }

    fn replace(&self, change: impl FnOnce(&ReplaceableOptions) -> ReplaceableOptions) -> Result<Warnings, ConfigError> {
        let (inner, now) = (self.inner(), self.now());
        let options = inner.settings.replace_with(&inner.fleet.servers, now, change)?;
        let snapshot = inner.fleet.servers.load();
        let list = snapshot.list();
        let some = |count: usize| Some(count).filter(|count| *count > 0);
        let setup = config::Setup {
            addresses: some(list.addresses()),
            servers: some(list.nodes().len()),
            probes: inner.fleet.probes.is_some(),
            ..inner.settings.warning_input(&options, now)
        };
        Ok(setup.warnings())
    }
}

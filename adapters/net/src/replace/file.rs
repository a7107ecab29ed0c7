//! Applies a file that has changed to a channel that runs: [`Channel::set_channel_file`].

use std::fmt;
use std::time::Duration;

use hedge_core::config::{ServersConfig, Setting, Warnings};
use hedge_core::policy::ConfigError;
use hedge_fleet::{ListError, ListUpdate, NameError, parse_lines};
use hedge_link::{ChannelFile, FixedSetting, Runtime};

use crate::channel::Channel;
use crate::http::Http;

/// What a file has changed in a channel that runs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The warnings that a builder with these options would give.
    pub warnings: Warnings,
    /// What changed in the list of servers. `None` if this file, or the file that the channel was built from, has no
    /// list.
    pub servers: Option<ListUpdate>,
    /// The settings that differ from the file that the channel was built from, and that cannot change while the channel
    /// runs. They stay as they were. To change them, build a new channel.
    pub needs_new_channel: Vec<FixedSetting>,
}

/// Why a file cannot be applied to a channel that runs: [`Channel::set_channel_file`].
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum SetConfigError {
    /// Options that cannot be carried out.
    Options(ConfigError),
    /// A line of the list is not a server.
    Servers(NameError),
    /// The list is empty.
    NoServers,
    /// The list was refused.
    List(ListError),
}

impl fmt::Display for SetConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Servers(error) => error.fmt(f),
            Self::NoServers => f.write_str("servers: the list is empty"),
            Self::List(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetConfigError {}

impl<R: Runtime> Channel<R, Http<R>> {
    /// Applies a file that has changed. What can change while the channel runs is changed: the options of calls and the
    /// limits; breaker, isolation limit and recovery, if the file names them ([`set_config`](Self::set_config)); a list of
    /// servers; the interval of the checks; and how connections are kept. The result lists what needs a new channel.
    ///
    /// The new file is compared with the file that the channel was built from. If it was built without one, every setting
    /// that cannot change and that the file names is listed.
    ///
    /// A file may be applied again and again. If two threads do so at once, their settings may mix: let one place of a
    /// program do it.
    ///
    /// # Errors
    /// Returns the first error. Nothing is changed then, with one exception: if the list is refused
    /// ([`SetConfigError::List`]), the options of calls and the limits have already changed.
    ///
    /// ```
    /// # use hedge_net::{Channel, ChannelFile, Runtime, SetConfigError, http::Http};
    /// fn reload<R: Runtime>(channel: &Channel<R, Http<R>>, new: &ChannelFile) -> Result<(), SetConfigError> {
    ///     let applied = channel.set_channel_file(new)?;
    ///     for warning in applied.warnings {
    ///         eprintln!("warning: {warning}");
    ///     }
    ///     for setting in applied.needs_new_channel {
    ///         eprintln!("restart to change {setting}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn set_channel_file(&self, config: &ChannelFile) -> Result<Applied, SetConfigError> {
        let built = &self.inner().file;
        let mut list = None;
        if let (Some(ServersConfig::Lines(_)), Some(ServersConfig::Lines(lines))) =
            (&built.channel.servers, &config.channel.servers)
        {
            let servers = parse_lines(lines.iter().map(|line| &**line)).map_err(SetConfigError::Servers)?;
            if servers.is_empty() {
                return Err(SetConfigError::NoServers);
            }
            list = Some(servers);
        }
        let warnings = self.set_config(&config.channel).map_err(SetConfigError::Options)?;
        let servers = list.map(|list| self.set_servers(list)).transpose().map_err(SetConfigError::List)?;
        if let Some(Setting::On(checks)) = config.channel.health_checks {
            self.set_check_interval(checks.interval);
        }
        let connections = &config.connections;
        if let Some(connections) = connections.max_idle_per_server {
            self.set_max_idle_per_server(usize::try_from(connections).unwrap_or(usize::MAX));
        }
        if let Some(timeout) = connections.idle_timeout {
            self.set_idle_timeout(timeout);
        }
        if let Some(age) = connections.max_age {
            self.set_max_connection_age(age.limit().unwrap_or(Duration::MAX));
        }
        if let Some(time) = connections.defer_close {
            self.set_defer_close(time);
        }
        Ok(Applied { warnings, servers, needs_new_channel: config.fixed_since(built) })
    }
}

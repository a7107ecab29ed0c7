//! Applies a file that has changed to a channel that runs: [`Channel::set_http_config`].

use std::fmt;
use std::time::Duration;

use hedge_core::config::{ChannelConfig, ServersConfig, Setting, Warnings};
use hedge_core::policy::ConfigError;
use hedge_fleet::{ListError, ListUpdate, NameError, parse_lines};
use hedge_link::Runtime;

use super::HttpConfig;
use crate::channel::Channel;
use crate::http::Http;

/// What a file has changed in a channel that runs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The warnings that a builder with these options would give.
    pub warnings: Warnings,
    /// What changed in the list of servers, if the file has one.
    pub servers: Option<ListUpdate>,
    /// What the file says differently than the file that the channel was built from, and what cannot change while the
    /// channel runs. It stays as it was. To change it, build a new channel.
    pub needs_new_channel: Vec<FixedSetting>,
}

/// A setting that cannot change while a channel runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FixedSetting {
    /// `name`.
    Name,
    /// `servers`, if the old file or the new one names a URL. A list can be replaced by a list.
    Servers,
    /// `load_balancer`.
    LoadBalancer,
    /// `protocol`.
    Protocol,
    /// `connection_type`.
    ConnectionType,
    /// `max_in_flight_per_server`, `max_queued_calls`, `max_queue_wait` or `slow_start`.
    ServerLimits,
    /// `adaptive_backup`.
    AdaptiveBackup,
    /// `health_checks`, except its interval.
    HealthChecks,
    /// `seed`.
    Seed,
    /// `connections.group`.
    ConnectionGroup,
    /// The options of sockets in `connections`.
    SocketOptions,
    /// `tls`. The paths are compared, not what is in the files.
    Tls,
}

impl FixedSetting {
    /// The field of the file.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Servers => "servers",
            Self::LoadBalancer => "load_balancer",
            Self::Protocol => "protocol",
            Self::ConnectionType => "connection_type",
            Self::ServerLimits => "max_in_flight_per_server, max_queued_calls, max_queue_wait, slow_start",
            Self::AdaptiveBackup => "adaptive_backup",
            Self::HealthChecks => "health_checks",
            Self::Seed => "seed",
            Self::ConnectionGroup => "connections.group",
            Self::SocketOptions => "connections, the options of sockets",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for FixedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}

/// Why a file cannot be applied to a channel that runs. Nothing has changed then.
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
    /// The first thing that is wrong. Nothing is changed then, except that a list which is refused
    /// ([`SetConfigError::List`]) comes after the options.
    ///
    /// ```
    /// # use hedge_net::{Channel, HttpConfig, Runtime, SetConfigError, http::Http};
    /// fn reload<R: Runtime>(channel: &Channel<R, Http<R>>, new: &HttpConfig) -> Result<(), SetConfigError> {
    ///     let applied = channel.set_http_config(new)?;
    ///     for warning in applied.warnings {
    ///         eprintln!("warning: {warning}");
    ///     }
    ///     for setting in applied.needs_new_channel {
    ///         eprintln!("restart to change {setting}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn set_http_config(&self, config: &HttpConfig) -> Result<Applied, SetConfigError> {
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
        Ok(Applied { warnings, servers, needs_new_channel: fixed(built, config) })
    }
}

/// What differs and cannot change.
fn fixed(old: &HttpConfig, new: &HttpConfig) -> Vec<FixedSetting> {
    let is_same = |setting: FixedSetting| {
        let (a, b) = (&old.channel, &new.channel);
        match setting {
            FixedSetting::Name => old.name == new.name,
            FixedSetting::Servers => match (&a.servers, &b.servers) {
                (Some(ServersConfig::Lines(_)), Some(ServersConfig::Lines(_))) => true,
                (a, b) => a == b,
            },
            FixedSetting::LoadBalancer => a.load_balancer == b.load_balancer,
            FixedSetting::Protocol => a.protocol == b.protocol,
            FixedSetting::ConnectionType => a.connection_type == b.connection_type,
            FixedSetting::ServerLimits => a.server_limits() == b.server_limits(),
            FixedSetting::AdaptiveBackup => a.adaptive_backup == b.adaptive_backup,
            FixedSetting::HealthChecks => checks(a) == checks(b),
            FixedSetting::Seed => a.seed == b.seed,
            FixedSetting::ConnectionGroup => old.connections.group == new.connections.group,
            FixedSetting::SocketOptions => old.connections.has_sockets_of(&new.connections),
            #[cfg(feature = "_tls")]
            FixedSetting::Tls => old.tls == new.tls,
            #[cfg(not(feature = "_tls"))]
            FixedSetting::Tls => true,
        }
    };
    let all = [
        FixedSetting::Name,
        FixedSetting::Servers,
        FixedSetting::LoadBalancer,
        FixedSetting::Protocol,
        FixedSetting::ConnectionType,
        FixedSetting::ServerLimits,
        FixedSetting::AdaptiveBackup,
        FixedSetting::HealthChecks,
        FixedSetting::Seed,
        FixedSetting::ConnectionGroup,
        FixedSetting::SocketOptions,
        FixedSetting::Tls,
    ];
    all.into_iter().filter(|setting| !is_same(*setting)).collect()
}

/// The checks without what can change: whether there are any, and their other options.
fn checks(config: &ChannelConfig) -> Option<Option<(impl PartialEq + use<>, bool)>> {
    config.health_checks.map(|checks| checks.on().map(|checks| (checks.timeout, checks.application)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_new_channel_is_listed_if_it_differs() {
        let read = |json: &str| serde_json::from_str::<HttpConfig>(json).unwrap();
        let fixed = |old: &str, new: &str| {
            let fixed = fixed(&read(old), &read(new));
            fixed.into_iter().map(FixedSetting::field).collect::<Vec<_>>()
        };
        for (old, new, expected) in [
            (r#"{"timeout": 1}"#, r#"{"timeout": 2, "backup": "1ms", "limits": "off"}"#, &[] as &[_]),
            (r#"{"servers": ["a:1"]}"#, r#"{"servers": ["b:1"]}"#, &[]),
            (r#"{"servers": ["a:1"]}"#, r#"{"servers": "file:///a"}"#, &["servers"]),
            (r#"{"name": "a", "seed": 1, "load_balancer": "rr"}"#, "{}", &["name", "load_balancer", "seed"]),
            (r#"{"health_checks": {"interval": "1s"}}"#, r#"{"health_checks": {"interval": "2s"}}"#, &[]),
            (r#"{"health_checks": {"timeout": "1s"}}"#, r#"{"health_checks": "off"}"#, &["health_checks"]),
            (r#"{"connections": {"idle_timeout": "1s"}}"#, r#"{"connections": {"idle_timeout": "2s"}}"#, &[]),
            (
                "{}",
                r#"{"connections": {"group": "a", "no_delay": false}}"#,
                &["connections.group", "connections, the options of sockets"],
            ),
            #[cfg(feature = "_tls")]
            (r#"{"tls": {}}"#, r#"{"tls": {"server_name": "a"}}"#, &["tls"]),
        ] {
            assert_eq!(fixed(old, new), expected, "{old} {new}");
        }
    }
}

//! The settings of a changed file that need a new channel: [`FixedSetting`].

use std::fmt;

use hedge_core::config::{ChannelConfig, ServersConfig};

use super::ChannelFile;

impl ChannelFile {
    /// Compares this file with the file that a channel was built from. Returns the settings that differ and that cannot
    /// change while the channel runs.
    #[must_use]
    pub fn fixed_since(&self, built: &Self) -> Vec<FixedSetting> {
        let is_same = |setting: FixedSetting| {
            let (a, b) = (&built.channel, &self.channel);
            match setting {
                FixedSetting::Name => built.name == self.name,
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
                FixedSetting::ConnectionGroup => built.connections.group == self.connections.group,
                FixedSetting::SocketOptions => built.connections.has_sockets_of(&self.connections),
                #[cfg(feature = "_tls")]
                FixedSetting::Tls => built.tls == self.tls,
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
}

/// A setting that cannot change while a channel runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FixedSetting {
    /// `name`.
    Name,
    /// `servers`, unless both files have a list. A list can be replaced by a list.
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
    /// Returns the name of the field in the file. Some settings have several fields.
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

/// Returns the part of `health_checks` that cannot change: whether there are checks, and all their options except the
/// interval.
fn checks(config: &ChannelConfig) -> Option<Option<(impl PartialEq + use<>, bool)>> {
    config.health_checks.map(|checks| checks.on().map(|checks| (checks.timeout, checks.application)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_new_channel_is_listed_if_it_differs() {
        let read = |json: &str| serde_json::from_str::<ChannelFile>(json).unwrap();
        let fixed = |old: &str, new: &str| {
            let fixed = read(new).fixed_since(&read(old));
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

//! What a changed file can change in a channel that runs, and the settings that need a new channel: [`FixedSetting`].

use std::fmt;

use hedge_core::config::{ChannelConfig, ServersConfig, Setting};
use hedge_core::health::{CheckInterval, CheckOptions};

use super::ChannelFile;

impl ChannelFile {
    /// Compares this file with the file that is in force in a channel: at first the file that the channel was built from,
    /// and then [`in_force_after`](Self::in_force_after). Returns the settings that differ and that cannot change while the
    /// channel runs. Some settings can have another value, but cannot be taken out of the file, since the value that the
    /// channel would have without the file is not known.
    #[must_use]
    pub fn fixed_since(&self, in_force: &Self) -> Vec<FixedSetting> {
        let is_same = |setting: FixedSetting| {
            let (a, b) = (&in_force.channel, &self.channel);
            match setting {
                FixedSetting::Name => in_force.name == self.name,
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
                FixedSetting::CircuitBreaker => stays(&a.circuit_breaker, &b.circuit_breaker),
                FixedSetting::IsolationLimit => stays(&a.isolation_limit, &b.isolation_limit),
                FixedSetting::Recovery => stays(&a.recovery, &b.recovery),
                FixedSetting::Seed => a.seed == b.seed,
                FixedSetting::ConnectionGroup => in_force.connections.group == self.connections.group,
                FixedSetting::IdleConnections => self.connections.has_idle_of(&in_force.connections),
                FixedSetting::SocketOptions => in_force.connections.has_sockets_of(&self.connections),
                FixedSetting::Sources => in_force.sources == self.sources,
                #[cfg(feature = "_tls")]
                FixedSetting::Tls => in_force.tls == self.tls,
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
            FixedSetting::CircuitBreaker,
            FixedSetting::IsolationLimit,
            FixedSetting::Recovery,
            FixedSetting::Seed,
            FixedSetting::ConnectionGroup,
            FixedSetting::IdleConnections,
            FixedSetting::SocketOptions,
            FixedSetting::Sources,
            FixedSetting::Tls,
        ];
        all.into_iter().filter(|setting| !is_same(*setting)).collect()
    }

    /// Returns the file that is in force after `new` was applied to a channel in which this file was in force: the settings
    /// of `new`, except those that cannot change.
    #[must_use]
    pub fn in_force_after(&self, new: &Self) -> Self {
        let (old, next) = (&self.channel, &new.channel);
        let interval = |checks| Some(Setting::On(CheckOptions { interval: interval_of(next)?, ..checks }));
        let channel = ChannelConfig {
            servers: old.servers.clone(),
            load_balancer: old.load_balancer,
            protocol: old.protocol.clone(),
            connection_type: old.connection_type.clone(),
            max_in_flight_per_server: old.max_in_flight_per_server,
            max_queued_calls: old.max_queued_calls,
            max_queue_wait: old.max_queue_wait,
            slow_start: old.slow_start,
            adaptive_backup: old.adaptive_backup,
            circuit_breaker: next.circuit_breaker.or(old.circuit_breaker),
            isolation_limit: next.isolation_limit.or(old.isolation_limit),
            recovery: next.recovery.or(old.recovery),
            health_checks: old.health_checks.and_then(Setting::on).and_then(interval).or(old.health_checks),
            seed: old.seed,
            ..next.clone()
        };
        Self { channel, connections: self.connections.in_force_after(&new.connections), ..self.clone() }
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
    /// `health_checks`, except its interval, if the file that the channel was built from had checks.
    HealthChecks,
    /// `circuit_breaker`, if the file does not name it any more. Another value can replace it.
    CircuitBreaker,
    /// `isolation_limit`, if the file does not name it any more. Another value can replace it.
    IsolationLimit,
    /// `recovery`, if the file does not name it any more. Another value can replace it.
    Recovery,
    /// `seed`.
    Seed,
    /// `connections.group`.
    ConnectionGroup,
    /// How idle connections are kept, if the file does not name one of these fields of `connections` any more. Another
    /// value can replace it.
    IdleConnections,
    /// The options of sockets in `connections`.
    SocketOptions,
    /// `sources`.
    Sources,
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
            Self::CircuitBreaker => "circuit_breaker",
            Self::IsolationLimit => "isolation_limit",
            Self::Recovery => "recovery",
            Self::Seed => "seed",
            Self::ConnectionGroup => "connections.group",
            Self::IdleConnections => {
                "connections.max_idle_per_server, connections.idle_timeout, connections.max_age, connections.defer_close"
            }
            Self::SocketOptions => "connections, the options of sockets",
            Self::Sources => "sources",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for FixedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}

/// Returns whether a setting that was in force can be as the new file says: it was not named before, or it is named now.
pub(super) const fn stays<T>(in_force: &Option<T>, new: &Option<T>) -> bool {
    in_force.is_none() || new.is_some()
}

/// Returns the interval of the checks, if the file has checks.
fn interval_of(config: &ChannelConfig) -> Option<CheckInterval> {
    config.health_checks.and_then(Setting::on).map(|checks| checks.interval)
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
            (
                r#"{"circuit_breaker": "off", "isolation_limit": {"selectable_percent": 50}, "recovery": {"min_working": 2, "hold": "3s"}}"#,
                "{}",
                &["circuit_breaker", "isolation_limit", "recovery"],
            ),
            (r#"{"circuit_breaker": "off"}"#, r#"{"circuit_breaker": {"consecutive_failures": {}}}"#, &[]),
            (r#"{"connections": {"idle_timeout": "1s"}}"#, "{}", &[FixedSetting::IdleConnections.field()]),
            (r#"{"sources": {"dns": {"timeout": "1s"}}}"#, r#"{"sources": {"dns": {"timeout": 1000}}}"#, &[]),
            (r#"{"sources": {"dns": {"timeout": "1s"}}}"#, r#"{"sources": {"dns": {"timeout": "2s"}}}"#, &["sources"]),
            #[cfg(feature = "_tls")]
            (r#"{"tls": {}}"#, r#"{"tls": {"server_name": "a"}}"#, &["tls"]),
        ] {
            assert_eq!(fixed(old, new), expected, "{old} {new}");
        }
    }
    #[test]
    fn what_cannot_change_stays_in_force_until_the_file_says_it_again() {
        let read = |json: &str| serde_json::from_str::<ChannelFile>(json).unwrap();
        let built = read(r#"{"name": "a", "seed": 1, "timeout": 1, "health_checks": {"timeout": "1s"}}"#);
        let changed = read(
            r#"{"name": "b", "seed": 2, "timeout": 2, "health_checks": {"interval": "20ms"}, "circuit_breaker": "off",
                "connections": {"group": "g", "max_age": "1m"}}"#,
        );
        let in_force = built.in_force_after(&changed);
        let expected = read(
            r#"{"name": "a", "seed": 1, "timeout": 2, "health_checks": {"interval": "20ms", "timeout": "1s"},
                "circuit_breaker": "off", "connections": {"max_age": "1m"}}"#,
        );
        assert_eq!(in_force, expected);
        let without = read(r#"{"name": "a", "seed": 1, "health_checks": {"timeout": "1s"}}"#);
        let expected = [FixedSetting::CircuitBreaker, FixedSetting::IdleConnections];
        assert_eq!(without.fixed_since(&in_force), expected);
        assert_eq!(without.fixed_since(&in_force.in_force_after(&without)), expected, "it is listed again");
    }
}

//! How connections are kept and made, as a file describes it: [`ConnectionsConfig`].

use std::net::IpAddr;
use std::time::Duration;

use hedge_core::config::reading::{FromScalar, Scalar, optional, optional_table};
use hedge_core::time::Timeout;
use serde::{Deserialize, Deserializer};

use super::ChannelFileError;
use super::change::stays;
use crate::socket_options::{BufferSize, KeepAlive, SocketOptionError, SocketOptions, UserTimeout};

/// How connections are kept and made. A field that is absent or null changes nothing.
///
/// The first four fields can be changed while the channel runs. The group and the options of sockets cannot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectionsConfig {
    /// How many idle connections are kept for each server.
    #[serde(deserialize_with = "max_idle_per_server")]
    pub max_idle_per_server: Option<u32>,
    /// How long a connection may be idle before it is closed.
    #[serde(deserialize_with = "idle_timeout")]
    pub idle_timeout: Option<Duration>,
    /// How old a connection may be. `"never"`: any age.
    #[serde(deserialize_with = "max_age")]
    pub max_age: Option<Timeout>,
    /// How long idle connections are kept after the last channel that shares them has gone.
    #[serde(deserialize_with = "defer_close")]
    pub defer_close: Option<Duration>,
    /// The group of the channels that share connections.
    #[serde(deserialize_with = "group")]
    pub group: Option<Box<str>>,
    /// As [`SocketOptions::no_delay`].
    #[serde(deserialize_with = "no_delay")]
    pub no_delay: Option<bool>,
    /// As [`SocketOptions::keep_alive`].
    #[serde(deserialize_with = "keep_alive")]
    pub keep_alive: Option<KeepAliveConfig>,
    /// As [`SocketOptions::send_buffer`], in bytes.
    #[serde(deserialize_with = "send_buffer")]
    pub send_buffer: Option<u32>,
    /// As [`SocketOptions::receive_buffer`], in bytes.
    #[serde(deserialize_with = "receive_buffer")]
    pub receive_buffer: Option<u32>,
    /// As [`SocketOptions::local_address`].
    #[serde(deserialize_with = "local_address")]
    pub local_address: Option<IpAddr>,
    /// As [`SocketOptions::user_timeout`].
    #[serde(deserialize_with = "user_timeout")]
    pub user_timeout: Option<Duration>,
}

/// TCP keep-alive: [`KeepAlive`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KeepAliveConfig {
    /// As [`KeepAlive::after`]. Absent: 10 s.
    #[serde(deserialize_with = "after")]
    pub after: Option<Duration>,
    /// As [`KeepAlive::every`].
    #[serde(deserialize_with = "every")]
    pub every: Option<Duration>,
    /// As [`KeepAlive::probes`].
    #[serde(deserialize_with = "probes")]
    pub probes: Option<u32>,
}

impl ConnectionsConfig {
    /// Returns these options of sockets, changed by those that the file names.
    ///
    /// # Errors
    /// An option is out of its range.
    pub fn socket_options(&self, mut options: SocketOptions) -> Result<SocketOptions, ChannelFileError> {
        let at = |field| move |error| ChannelFileError::Socket { field, error };
        if let Some(on) = self.no_delay {
            options = options.no_delay(on);
        }
        if let Some(keep_alive) = self.keep_alive {
            options = options.keep_alive(keep_alive.checked().map_err(at("connections.keep_alive"))?);
        }
        if let Some(bytes) = self.send_buffer {
            options = options.send_buffer(BufferSize::new(bytes).map_err(at("connections.send_buffer"))?);
        }
        if let Some(bytes) = self.receive_buffer {
            options = options.receive_buffer(BufferSize::new(bytes).map_err(at("connections.receive_buffer"))?);
        }
        if let Some(address) = self.local_address {
            options = options.local_address(address);
        }
        if let Some(timeout) = self.user_timeout {
            options = options.user_timeout(UserTimeout::new(timeout).map_err(at("connections.user_timeout"))?);
        }
        Ok(options)
    }

    /// Whether this file still names how idle connections are kept, as far as the file in force does.
    pub(super) const fn has_idle_of(&self, in_force: &Self) -> bool {
        stays(&in_force.max_idle_per_server, &self.max_idle_per_server)
            && stays(&in_force.idle_timeout, &self.idle_timeout)
            && stays(&in_force.max_age, &self.max_age)
            && stays(&in_force.defer_close, &self.defer_close)
    }

    /// Returns what is in force after `new` was applied to a channel.
    pub(super) fn in_force_after(&self, new: &Self) -> Self {
        Self {
            max_idle_per_server: new.max_idle_per_server.or(self.max_idle_per_server),
            idle_timeout: new.idle_timeout.or(self.idle_timeout),
            max_age: new.max_age.or(self.max_age),
            defer_close: new.defer_close.or(self.defer_close),
            ..self.clone()
        }
    }

    /// Whether the options of sockets are the same.
    pub(super) fn has_sockets_of(&self, other: &Self) -> bool {
        let sockets = |it: &Self| {
            (it.no_delay, it.keep_alive, it.send_buffer, it.receive_buffer, it.local_address, it.user_timeout)
        };
        sockets(self) == sockets(other)
    }
}

impl KeepAliveConfig {
    fn checked(self) -> Result<KeepAlive, SocketOptionError> {
        let mut keep_alive = KeepAlive::after(self.after.unwrap_or(Duration::from_secs(10)))?;
        if let Some(interval) = self.every {
            keep_alive = keep_alive.every(interval)?;
        }
        match self.probes {
            Some(probes) => keep_alive.probes(probes),
            None => Ok(keep_alive),
        }
    }
}

/// Makes functions for `deserialize_with`: `name: field, type, what it must be;`.
macro_rules! fields {
    ($($name:ident: $field:expr, $type:ty, $wanted:expr;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$type>, D::Error> {
            optional(deserializer, $field, $wanted)
        }
    )*};
}

const DURATION: &str = "a duration such as \"20ms\" or \"2s\"";

fields! {
    max_idle_per_server: "connections.max_idle_per_server", u32, "an integer in [0, 4294967295]";
    idle_timeout: "connections.idle_timeout", Duration, DURATION;
    max_age: "connections.max_age", Timeout, "a duration above 0 such as \"10m\", or \"never\"";
    defer_close: "connections.defer_close", Duration, DURATION;
    group: "connections.group", Box<str>, "text, as in \"tenant-1\"";
    no_delay: "connections.no_delay", bool, "true or false";
    send_buffer: "connections.send_buffer", u32, "an integer in [1024, 1073741824]";
    receive_buffer: "connections.receive_buffer", u32, "an integer in [1024, 1073741824]";
    user_timeout: "connections.user_timeout", Duration, DURATION;
    after: "connections.keep_alive.after", Duration, DURATION;
    every: "connections.keep_alive.every", Duration, DURATION;
    probes: "connections.keep_alive.probes", u32, "an integer in [1, 127]";
}

fn keep_alive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeepAliveConfig>, D::Error> {
    optional_table(deserializer, "connections.keep_alive")
}

fn local_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let wanted = "an IP address, as in \"10.0.0.9\"";
    let address: Option<Ip> = optional(deserializer, "connections.local_address", wanted)?;
    Ok(address.map(|Ip(address)| address))
}

/// An IP address in a file.
#[derive(Deserialize)]
struct Ip(IpAddr);

impl FromScalar for Ip {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        if let Scalar::Text(text) = scalar { text.parse().ok().map(Self) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(json: &str) -> Result<SocketOptions, String> {
        let config: ConnectionsConfig = serde_json::from_str(json).unwrap();
        config.socket_options(SocketOptions::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn c8_the_options_of_sockets_are_those_of_the_setters() {
        let json = r#"{"no_delay": false, "keep_alive": {"after": "30s", "every": "5s", "probes": 3}, "send_buffer": 65536,
                       "receive_buffer": 131072, "local_address": "127.0.0.1", "user_timeout": "10s"}"#;
        let seconds = Duration::from_secs;
        let keep_alive = KeepAlive::after(seconds(30)).and_then(|it| it.every(seconds(5))).and_then(|it| it.probes(3));
        let expected = SocketOptions::new()
            .no_delay(false)
            .keep_alive(keep_alive.unwrap())
            .send_buffer(BufferSize::new(65_536).unwrap())
            .receive_buffer(BufferSize::new(131_072).unwrap())
            .local_address([127, 0, 0, 1].into())
            .user_timeout(UserTimeout::new(seconds(10)).unwrap());
        assert_eq!(sockets(json), Ok(expected));
        assert_eq!(sockets("{}"), Ok(SocketOptions::new()));
    }

    #[test]
    fn c8_an_option_out_of_its_range_names_its_field_and_the_range() {
        for (json, text) in [
            (
                r#"{"keep_alive": {"after": "100ms"}}"#,
                "connections.keep_alive: keep-alive time 0 s: must be in [1 s, 32767 s]",
            ),
            (r#"{"send_buffer": 1}"#, "connections.send_buffer: buffer size 1 B: must be in [1024 B, 1073741824 B]"),
            (
                r#"{"user_timeout": "0ms"}"#,
                "connections.user_timeout: user timeout 0 ms: must be in [1 ms, 86400000 ms]",
            ),
        ] {
            assert_eq!(sockets(json), Err(text.to_owned()));
        }
    }
}

//! A whole channel as a file describes it: [`ChannelFile`].

mod change;
mod connections;
mod sources;
mod split;
#[cfg(feature = "_tls")]
mod tls;

use std::fmt;

use hedge_core::config::ChannelConfig;

pub use self::change::FixedSetting;
pub use self::connections::{ConnectionsConfig, KeepAliveConfig};
#[cfg(feature = "_tls")]
pub use self::sources::SourceTlsConfig;
pub use self::sources::{
    ConsulSourceConfig, DnsSourceConfig, EtcdSourceConfig, FileSourceConfig, HostSourceConfig, HttpSourceConfig,
    KubernetesSourceConfig, RemoteFileSourceConfig, SourcesConfig, SourcesConfigError,
};
#[cfg(feature = "_tls")]
pub use self::tls::{TlsConfig, TlsFileError};
use crate::socket_options::SocketOptionError;

/// The content of a file that describes a whole channel: the fields of [`ChannelConfig`], and `name`, `connections`, `tls`
/// and `sources`. In hedge-net, `Builder::channel_file` makes a channel of it, and `Channel::set_channel_file` applies
/// a changed file to a channel that runs.
///
/// | field | value |
/// |---|---|
/// | `name` | text: the channel's name, by which an operator finds it |
/// | `connections` | a map: how connections are kept and made, [`ConnectionsConfig`] |
/// | `tls` | a map: `TlsConfig`, with a feature of TLS. `{}` trusts the roots of the operating system |
/// | `sources` | a map: the options of the sources of servers, [`SourcesConfig`] |
/// | all others | see [`ChannelConfig`] |
///
/// Any self-describing format that serde reads can be used, such as JSON, YAML and TOML. An unknown field is an error that
/// names it, and so is a value that a field cannot have. If one of these four fields is null, it counts as absent. The
/// error has the line, if the format tells it. The builder checks whether values are in range, in the same way as the
/// values of its setters. The values of `sources` are checked when the file is read.
///
/// ```
/// use hedge_link::ChannelFile;
///
/// let text = r#"{
///     "name": "users",
///     "servers": ["10.0.0.1:8001", "10.0.0.2:8001"],
///     "load_balancer": "p2c",
///     "timeout": "300ms",
///     "connections": {"idle_timeout": "30s", "keep_alive": {"after": "1m"}}
/// }"#;
/// let config: ChannelFile = serde_json::from_str(text)?;
/// assert_eq!(config.name.as_deref(), Some("users"));
///
/// let error = serde_json::from_str::<ChannelFile>(r#"{"connections": {"idle": "30s"}}"#).unwrap_err().to_string();
/// assert!(error.starts_with("unknown field `idle`, expected one of `max_idle_per_server`"), "{error}");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ChannelFile {
    /// The channel's name.
    pub name: Option<Box<str>>,
    /// How connections are kept and made.
    pub connections: ConnectionsConfig,
    /// TLS. `None`: what the builder says, or what the servers' URL says.
    #[cfg(feature = "_tls")]
    pub tls: Option<TlsConfig>,
    /// The options of the sources of servers.
    pub sources: SourcesConfig,
    /// The servers, and what calls may do.
    pub channel: ChannelConfig,
}

impl From<ChannelConfig> for ChannelFile {
    fn from(channel: ChannelConfig) -> Self {
        Self { channel, ..Self::default() }
    }
}

/// Why a file describes a channel that cannot be made.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ChannelFileError {
    /// An option of sockets is out of its range.
    Socket {
        /// The field, such as `connections.keep_alive.after`.
        field: &'static str,
        /// The value, and the range in which it must be.
        error: SocketOptionError,
    },
    /// The certificates of `tls` cannot be used.
    #[cfg(feature = "_tls")]
    Tls(TlsFileError),
    /// The options of the sources of servers cannot be used.
    Sources(SourcesConfigError),
}

impl fmt::Display for ChannelFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { field, error } => write!(f, "{field}: {error}"),
            #[cfg(feature = "_tls")]
            Self::Tls(error) => error.fmt(f),
            Self::Sources(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChannelFileError {}

//! Why a channel cannot be built: [`BuildError`].

use std::fmt;

use hedge_core::balance::{BalancerError, WeightError};
use hedge_core::policy::ConfigError;
use hedge_fleet::{ListError, NameError, ProtocolError, Server};

use crate::http::{DefaultHeaderError, StatusError};
use hedge_http_transport::ConnectOptionError;

/// Why a channel cannot be built.
///
/// `Debug` shows the text of the error too, because a `main` that returns the error prints its `Debug` text.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum BuildError {
    /// The text is not a list of servers.
    Servers(NameError),
    /// The list is empty, or the filter refuses every server.
    NoServers,
    /// A naming URL needs a balancer ([N4](hedge_core::rules#N4)).
    NoBalancer {
        /// The URL. A URL with an `@` is not stored, so that a password cannot get into a log.
        servers: Box<str>,
    },
    /// The name or a parameter of the balancer is not valid.
    Balancer(BalancerError),
    /// The balancer uses weights, and a server's tag is not a weight.
    Weight {
        /// The server.
        server: Server,
        /// What is wrong with its tag.
        error: WeightError,
    },
    /// The list was refused.
    List(ListError),
    /// The options of the checks ask for the application's check, and none is set.
    NoApplicationCheck,
    /// A status that cannot be retried.
    RetryStatus(StatusError),
    /// A default header that requests cannot have.
    DefaultHeader(DefaultHeaderError),
    /// The URL of the server, or how connections to it are made, is not valid.
    Connecting(ConnectOptionError),
    /// The path of the health check is not a path.
    CheckPath {
        /// The text.
        path: Box<str>,
    },
    /// Options that cannot be carried out.
    Options(ConfigError),
    /// The protocol of a file, or its connection type, is not one that this channel has.
    Protocol(ProtocolError),
    /// The file names certificates, options of sockets or options of sources that cannot be used.
    #[cfg(feature = "serde")]
    File(hedge_link::ChannelFileError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(error) => error.fmt(f),
            Self::NoServers => f.write_str("the list of servers is empty, or the filter refuses them all"),
            Self::NoBalancer { servers } => {
                write!(f, "{servers:?} needs a load balancer: add .load_balancer(\"rr\"), or name one host:port")
            }
            Self::Balancer(error) => write!(f, "load balancer: {error}"),
            Self::Weight { server, error } => write!(f, "server {server}: {error}"),
            Self::List(error) => error.fmt(f),
            Self::NoApplicationCheck => {
                f.write_str("health check: the options require the application's: add .health_check_with(…)")
            }
            Self::RetryStatus(error) => error.fmt(f),
            Self::DefaultHeader(error) => error.fmt(f),
            Self::Connecting(error) => error.fmt(f),
            Self::CheckPath { path } => write!(f, "health check: {path:?} is not a path; a path begins with /"),
            Self::Options(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            #[cfg(feature = "serde")]
            Self::File(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildError: {self}")
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n4_a_main_that_returns_the_error_says_what_to_write() {
        let error: Box<dyn std::error::Error> = BuildError::NoBalancer { servers: "list://a:1,b:2".into() }.into();
        let text =
            r#"BuildError: "list://a:1,b:2" needs a load balancer: add .load_balancer("rr"), or name one host:port"#;
        assert_eq!(format!("{error:?}"), text);
    }
}

//! Why a combined channel cannot be built: [`BuildError`].

use std::fmt;
use std::sync::Arc;

use hedge_core::balance::BalancerError;
use hedge_core::cluster::ClusterError;
use hedge_core::policy::ConfigError;

/// Why a combined channel cannot be built.
///
/// `Debug` shows the text of the error too, because a `main` that returns the error prints its `Debug` text.
#[derive(Clone)]
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
    /// The list cannot take the sub-channels.
    List(ClusterError),
    /// Two sub-channels have the same name.
    SameName(Arc<str>),
    /// A limit of a parallel call is 0. `fail_limit` and `success_limit` are at least 1.
    ZeroLimit {
        /// The name of the limit.
        limit: &'static str,
    },
    /// The number of partitions is not from 1 to 65,536.
    Partitions {
        /// The number.
        count: u32,
    },
    /// The program's code could not make the channel of the partitions, or of one of them. The value is its error.
    Part(Arc<dyn std::error::Error + Send + Sync>),
    /// A file names something that a combined channel does not have.
    Unsupported {
        /// The field of the file.
        field: &'static str,
    },
}

impl From<ClusterError> for BuildError {
    fn from(error: ClusterError) -> Self {
        Self::List(error)
    }
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
            Self::List(error) => write!(f, "list of sub-channels: {error}"),
            Self::SameName(name) => write!(f, "two sub-channels are named {name:?}; give each its own name"),
            Self::ZeroLimit { limit } => write!(f, "{limit} is 0; write 1 or more, or leave it out"),
            Self::Partitions { count } => write!(f, "{count} partitions; write a number from 1 to 65536"),
            Self::Part(error) => write!(f, "channel of a partition: {error}"),
            Self::Unsupported { field } => {
                write!(f, "{field}: the program brings its sub-channels, so a file cannot set this here; leave it out")
            }
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The message already includes the error, but not its causes.
            Self::Part(error) => error.source(),
            _ => None,
        }
    }
}

//! Applies a file to a builder, by the builder's own setters.

use hedge_core::config::{ChannelConfig, ServersConfig};
use hedge_core::drive::SendTransport;
use hedge_fleet::Address;
use hedge_link::{ChannelFile, ChannelFileError, Runtime};

use super::{Builder, Given};
use crate::http::Http;

impl<R, T> Builder<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request: Sized + Send + Sync> + Send + Sync + 'static,
{
    /// Applies the rest of a file: servers, protocol, connection type and checks.
    pub(super) fn applied(mut self, config: &ChannelConfig) -> Self {
        match &config.servers {
            Some(ServersConfig::Url(url)) => (self.servers, self.given) = (url.clone(), Given::Text),
            Some(ServersConfig::Lines(lines)) => {
                (self.servers, self.given) = ("servers".into(), Given::Lines(lines.clone()));
            }
            None => {}
        }
        self.protocol = config.protocol.clone().or(self.protocol);
        self.connection_type = config.connection_type.clone().or(self.connection_type);
        if let Some(checks) = config.health_checks {
            self.checks = checks.on();
        }
        self.file.channel = config.clone();
        self
    }
}

impl<R: Runtime> Builder<R, Http<R>> {
    /// Applies a file that describes a whole channel: [`config`](Self::config) with the file's
    /// [`channel`](ChannelFile::channel), and the setters for the channel's name, its connections, TLS and
    /// [`sources`](Self::sources), as far as the file names them. Setters that are called after this one change single
    /// settings.
    ///
    /// Certificates and keys are read here, which blocks. Channels of which each reads certificates do not share connections
    /// ([C4](hedge_core::rules#C4)): see `TlsConfig::read`.
    ///
    /// The values of the file are checked when the builder builds, in the same way as the values of setters, with the
    /// same errors and warnings. A file of TLS that cannot be read, an option of sockets that is out of its range, and
    /// options of sources that cannot be used give [`BuildError::File`](crate::BuildError::File). If these are valid in
    /// a later file, that file removes the error. An error of TLS stays if the later file says nothing about TLS, so
    /// that nothing is sent in clear text by mistake.
    /// The same holds for `sources.http.tls`.
    pub fn channel_file(mut self, config: &ChannelFile) -> Self {
        self = self.config(&config.channel);
        if let Some(name) = &config.name {
            self = self.name(name);
        }
        let connections = &config.connections;
        if let Some(connections) = connections.max_idle_per_server {
            self = self.max_idle_per_server(usize::try_from(connections).unwrap_or(usize::MAX));
        }
        if let Some(timeout) = connections.idle_timeout {
            self = self.idle_timeout(timeout);
        }
        if let Some(age) = connections.max_age {
            self = self.max_connection_age(age.limit().unwrap_or(std::time::Duration::MAX));
        }
        if let Some(time) = connections.defer_close {
            self = self.defer_close(time);
        }
        if let Some(group) = &connections.group {
            self = self.connection_group(group);
        }
        self.file_errors[0] = match connections.socket_options(self.connecting.socket.clone()) {
            Ok(options) => {
                self.connecting.socket = options;
                None
            }
            Err(error) => Some(error),
        };
        let kept = self.file_errors[2].take().filter(|error| is_kept(error, config));
        self.file_errors[2] = match self.sources.clone().config(&config.sources) {
            Ok(sources) => {
                self.sources = sources;
                kept
            }
            Err(error) => kept.or(Some(ChannelFileError::Sources(error))),
        };
        #[cfg(feature = "_tls")]
        if let Some(tls) = &config.tls {
            self.file_errors[1] = match tls.read() {
                Ok(settings) => {
                    self.connecting.tls = Some(settings);
                    None
                }
                Err(error) => Some(ChannelFileError::Tls(error)),
            };
            if let Some(name) = &tls.server_name {
                self = self.tls_name(name);
            }
        }
        self.file = config.clone();
        self
    }
}

/// Whether an error of an earlier file stays: the connections of sources were to be encrypted, and this file does not
/// say how.
#[cfg(feature = "_tls")]
const fn is_kept(error: &ChannelFileError, config: &ChannelFile) -> bool {
    let is_tls = matches!(error, ChannelFileError::Sources(hedge_link::SourcesConfigError::Tls(_)));
    is_tls && config.sources.http.tls.is_none()
}

/// Whether an error of an earlier file stays. Without TLS, none does.
#[cfg(not(feature = "_tls"))]
const fn is_kept(_: &ChannelFileError, _: &ChannelFile) -> bool {
    false
}

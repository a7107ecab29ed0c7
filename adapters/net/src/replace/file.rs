//! Applies a file that has changed to a channel that runs: [`Channel::set_channel_file`].

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hedge_core::config::{ServersConfig, Warnings};
use hedge_core::policy::ConfigError;
use hedge_fleet::{
    ConnectionType, ListUpdate, NameError, Protocol, ProtocolError, Server, StrictListError, parse_lines,
};
use hedge_http_transport::ProtocolChoice;
use hedge_link::{ChannelFile, ChannelFileError, ConnectionsConfig, FixedSetting, Runtime, SocketOptions};
use hedge_naming::Sources;

use crate::channel::Channel;
use crate::http::Http;

/// What a file has changed in a channel that runs.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The warnings that a builder with these options would give.
    pub warnings: Warnings,
    /// What changed in the list of servers. `None` if this file, or the file that the channel was built from, has no
    /// list, and if the channel follows a source.
    pub servers: Option<ListUpdate>,
    /// The settings that differ from the file in force, and that cannot change while the channel runs, or that the file does
    /// not name any more. They stay as they were. To change them, build a new channel.
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
    /// The list was refused.
    List(StrictListError),
    /// The protocol, or its connection type, is not one that this channel has.
    Protocol(ProtocolError),
    /// The file names certificates, options of sockets or options of sources that cannot be used.
    File(ChannelFileError),
}

impl fmt::Display for SetConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Servers(error) => error.fmt(f),
            Self::List(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SetConfigError {}

impl<R: Runtime> Channel<R, Http<R>> {
    /// Applies a file that has changed. What can change while the channel runs is changed: the options of calls and the
    /// limits; breaker, isolation limit and recovery; a list of servers; the interval of the checks; and how connections are
    /// kept. The result lists what needs a new channel.
    ///
    /// The new file is compared with the file that was applied last, at first the file of
    /// [`Builder::channel_file`](crate::Builder::channel_file). Only what differs between the two is changed. So a setter of
    /// the builder that came after the file, [`set_options`](Self::set_options) and the other setters of the channel stay in
    /// force until the file changes their setting. Only the list of servers is set each time. An option of calls or a limit
    /// that a file does not name has the value of the file's preset. If the channel was built without a file, the new file
    /// is compared with an empty one.
    ///
    /// Breaker, isolation limit, recovery and how connections are kept can be changed, but not taken out of the file: they
    /// stay in force then, and the result lists them.
    ///
    /// A file may be applied again and again. If two threads do so at once, their settings may mix: let one place of a
    /// program do it.
    ///
    /// Certificates and keys are read here to check them, which blocks. They are not applied: a change of `tls` or of
    /// `sources` needs a new channel.
    ///
    /// # Errors
    /// Returns the first error. Nothing is changed then. What needs a new channel is checked too, except a URL of `servers`
    /// and whether the application's check is set. A list is refused as the builder refuses it: if a tag is not a weight
    /// although the balancer uses weights, and if no server is left.
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
        let file = &self.inner().file;
        let old = Arc::clone(&file.lock().unwrap_or_else(PoisonError::into_inner));
        let list = self.checked(&old, config)?;
        // The list comes first: it is the only part that can still be refused, and then nothing has changed.
        let servers =
            list.map(|list| self.inner().fleet.set_strictly(list)).transpose().map_err(SetConfigError::List)?;
        let options = self.replace(|now| now.clone().with_changed_config(&old.channel, &config.channel));
        let warnings = options.map_err(SetConfigError::Options)?;
        let new = old.in_force_after(config);
        let interval = |file: &ChannelFile| Some(file.channel.health_checks?.on()?.interval);
        if let Some(interval) = changed(interval(&old), interval(&new)) {
            self.set_check_interval(interval);
        }
        self.keep_connections(&old.connections, &new.connections);
        *file.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(Applied { warnings, servers, needs_new_channel: config.fixed_since(&old) })
    }

    /// Changes how connections are kept, where the file has changed.
    fn keep_connections(&self, old: &ConnectionsConfig, new: &ConnectionsConfig) {
        if let Some(connections) = changed(old.max_idle_per_server, new.max_idle_per_server) {
            self.set_max_idle_per_server(usize::try_from(connections).unwrap_or(usize::MAX));
        }
        if let Some(timeout) = changed(old.idle_timeout, new.idle_timeout) {
            self.set_idle_timeout(timeout);
        }
        if let Some(age) = changed(old.max_age, new.max_age) {
            self.set_max_connection_age(age.limit().unwrap_or(Duration::MAX));
        }
        if let Some(time) = changed(old.defer_close, new.defer_close) {
            self.set_defer_close(time);
        }
    }

    /// Checks all values of a file, and changes nothing. Returns the list of servers that the channel is to have, if the
    /// file can replace its list.
    fn checked(&self, old: &ChannelFile, config: &ChannelFile) -> Result<Option<Vec<Server>>, SetConfigError> {
        let ChannelFile { channel, connections, .. } = config;
        let options = self.options().with_changed_config(&old.channel, channel);
        options.check().and_then(|()| channel.server_limits().validate()).map_err(SetConfigError::Options)?;
        let kind = channel.connection_type.as_deref();
        let protocol = match &channel.protocol {
            Some(name) => Protocol::find(ProtocolChoice::ALL, name, kind).map(drop),
            // The program may have chosen the protocol.
            None => kind.map_or(Ok(()), |kind| kind.parse::<ConnectionType>().map(drop)),
        };
        protocol.map_err(SetConfigError::Protocol)?;
        connections.socket_options(SocketOptions::new()).map_err(SetConfigError::File)?;
        #[cfg(feature = "_tls")]
        if let Some(tls) = &config.tls {
            tls.read().map_err(|error| SetConfigError::File(ChannelFileError::Tls(error)))?;
        }
        let sources = Sources::new(self.inner().runtime.clone()).config(&config.sources);
        sources.map_err(|error| SetConfigError::File(ChannelFileError::Sources(error)))?;
        let Some(ServersConfig::Lines(lines)) = &channel.servers else { return Ok(None) };
        let servers = parse_lines(lines.iter().map(|line| &**line)).map_err(SetConfigError::Servers)?;
        let has_list = matches!(old.channel.servers, Some(ServersConfig::Lines(_)));
        Ok(Some(servers).filter(|_| has_list && self.inner().fleet.source.is_none()))
    }
}

/// Returns the new value of a setting, if it differs from the old one.
fn changed<T: PartialEq + Copy>(old: Option<T>, new: Option<T>) -> Option<T> {
    if old == new { None } else { new }
}

//! The table of protocols, [`Protocol`], and the ways in which calls share connections, [`ConnectionType`].

use std::fmt;
use std::str::FromStr;

/// The way in which the calls to a server share connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectionType {
    /// There is one connection to each server, with many calls in flight.
    Single,
    /// Each connection has one call at a time. After the call, the connection is kept for the next call.
    Pooled,
    /// There is one connection for each attempt.
    Short,
}

impl ConnectionType {
    const ALL: [Self; 3] = [Self::Single, Self::Pooled, Self::Short];

    /// Returns the type as a word: `single`, `pooled` or `short`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Pooled => "pooled",
            Self::Short => "short",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ConnectionType {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| ProtocolError::ConnectionType { name: text.into() })
    }
}

/// A protocol: its name, and the connection types that the protocol supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol {
    name: &'static str,
    /// The types that the protocol supports. The first is the default.
    connection_types: &'static [ConnectionType],
}

impl Protocol {
    /// The protocol HTTP/1.1. Its connection type is `pooled` by default, and may be `short`.
    pub const HTTP: Self = Self { name: "http", connection_types: &[ConnectionType::Pooled, ConnectionType::Short] };

    /// The protocol HTTP/2. Over TLS, client and server agree on it by ALPN. Without TLS, the client uses it without
    /// asking (*prior knowledge*). Its connection type is `single`.
    pub const H2: Self = Self { name: "h2", connection_types: &[ConnectionType::Single] };

    /// Returns the name of the protocol, as it is written in a configuration file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the connection types that the protocol supports. The first one is the default.
    #[must_use]
    pub const fn connection_types(&self) -> &'static [ConnectionType] {
        self.connection_types
    }

    /// Finds the protocol with this name in `table`, and the connection type with this name. If no connection type is
    /// named, the result has the protocol's default.
    ///
    /// # Errors
    /// Returns an error if the protocol or the connection type is unknown, or if the protocol does not support the
    /// connection type. The error contains the name that was asked for and the known names. An empty `table` means that
    /// the program has its own transport; then a protocol cannot be chosen, and this returns an error too.
    ///
    /// ```
    /// use hedge_fleet::Protocol;
    ///
    /// let (http, pooled) = Protocol::find(&[Protocol::HTTP], "http", None)?;
    /// assert_eq!((http, pooled.name()), (Protocol::HTTP, "pooled"));
    /// let error = Protocol::find(&[Protocol::HTTP], "http", Some("single")).unwrap_err();
    /// assert_eq!(error.to_string(), "connection_type \"single\": protocol \"http\" supports pooled, short");
    /// # Ok::<(), hedge_fleet::ProtocolError>(())
    /// ```
    pub fn find(
        table: &[Self],
        name: &str,
        connection_type: Option<&str>,
    ) -> Result<(Self, ConnectionType), ProtocolError> {
        if table.is_empty() {
            return Err(ProtocolError::OwnTransport);
        }
        let Some(protocol) = table.iter().find(|protocol| protocol.name == name) else {
            if name == Self::H2.name && table.contains(&Self::HTTP) {
                return Err(ProtocolError::NoFeature { protocol: Self::H2, feature: "http2" });
            }
            let known = table.iter().map(|protocol| protocol.name).collect();
            return Err(ProtocolError::Unknown { name: name.into(), known });
        };
        protocol.with(connection_type).map(|kind| (*protocol, kind))
    }

    /// Finds the connection type with this name. If no name is given, returns the default of the protocol.
    ///
    /// # Errors
    /// Returns an error if the connection type is unknown, or if the protocol does not support it.
    pub fn with(&self, connection_type: Option<&str>) -> Result<ConnectionType, ProtocolError> {
        let asked = connection_type.map(str::parse).transpose()?;
        let mut supported = self.connection_types.iter().copied();
        let found = supported.find(|kind| asked.is_none_or(|asked| asked == *kind));
        match (found, asked) {
            (Some(kind), _) => Ok(kind),
            (None, asked) => Err(ProtocolError::Unsupported { protocol: *self, asked }),
        }
    }
}

/// The reason why a protocol cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// No protocol has this name.
    Unknown {
        /// The name that was asked for.
        name: Box<str>,
        /// The known names.
        known: Vec<&'static str>,
    },
    /// The protocol is known, but its feature is off in this build.
    NoFeature {
        /// The protocol that was asked for.
        protocol: Protocol,
        /// The name of the feature that is off.
        feature: &'static str,
    },
    /// A protocol was asked for, but the program has its own transport, and that transport determines the protocol.
    OwnTransport,
    /// No connection type has this name.
    ConnectionType {
        /// The name that was asked for.
        name: Box<str>,
    },
    /// The protocol does not support the connection type.
    Unsupported {
        /// The protocol that was asked for.
        protocol: Protocol,
        /// The connection type that was asked for. It is `None` if the default was asked for.
        asked: Option<ConnectionType>,
    },
}

/// Writes names with commas between them.
fn write_names<T: fmt::Display>(f: &mut fmt::Formatter<'_>, names: impl IntoIterator<Item = T>) -> fmt::Result {
    for (index, name) in names.into_iter().enumerate() {
        write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnTransport => f.write_str(
                "protocol, connection_type: this channel uses a transport of the program; leave both out of the file",
            ),
            Self::Unknown { name, known } => {
                write!(f, "protocol {name:?}: unknown; known are ")?;
                write_names(f, known)
            }
            Self::NoFeature { protocol, feature } => {
                write!(f, "protocol {:?}: needs the feature `{feature}`", protocol.name)
            }
            Self::ConnectionType { name } => {
                write!(f, "connection_type {name:?}: unknown; known are ")?;
                write_names(f, ConnectionType::ALL)
            }
            Self::Unsupported { protocol, asked } => {
                f.write_str("connection_type ")?;
                if let Some(asked) = asked {
                    write!(f, "{:?}", asked.name())?;
                }
                write!(f, ": protocol {:?} supports ", protocol.name)?;
                write_names(f, protocol.connection_types)
            }
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_an_error_names_what_was_asked_for_and_what_there_is() {
        for (name, kind, expected) in [
            ("redis", None, "protocol \"redis\": unknown; known are http"),
            ("h2", None, "protocol \"h2\": needs the feature `http2`"),
            ("http", Some("single"), "connection_type \"single\": protocol \"http\" supports pooled, short"),
            ("http", Some("shared"), "connection_type \"shared\": unknown; known are single, pooled, short"),
        ] {
            assert_eq!(Protocol::find(&[Protocol::HTTP], name, kind).unwrap_err().to_string(), expected);
        }
        assert_eq!(Protocol::find(&[], "http", None), Err(ProtocolError::OwnTransport));
        let types = [ConnectionType::Single, ConnectionType::Short];
        let two = Protocol { name: "two", connection_types: &[ConnectionType::Single, ConnectionType::Short] };
        assert_eq!(two.with(None), Ok(ConnectionType::Single), "the first is the default");
        assert_eq!(types.map(|kind| two.with(Some(kind.name()))), types.map(Ok));
    }
}

//! The table of protocols: [`Protocol`], and how calls share connections, [`ConnectionType`].

use std::fmt;
use std::str::FromStr;

/// How the calls to a server share connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectionType {
    /// One connection a server, with many calls in flight.
    Single,
    /// One call at a time on a connection, which is kept for the next call.
    Pooled,
    /// One connection for each attempt.
    Short,
}

impl ConnectionType {
    const ALL: [Self; 3] = [Self::Single, Self::Pooled, Self::Short];

    /// The type as a word: `single`, `pooled` or `short`.
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

/// A protocol: its name, and the connection types that it supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol {
    name: &'static str,
    /// The types that it supports. The first is the default.
    connection_types: &'static [ConnectionType],
}

impl Protocol {
    /// HTTP/1.1: `pooled`.
    pub const HTTP: Self = Self { name: "http", connection_types: &[ConnectionType::Pooled] };

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The connection types that the protocol supports. The first is the default.
    #[must_use]
    pub const fn connection_types(&self) -> &'static [ConnectionType] {
        self.connection_types
    }

    /// The protocol of this name among those of `table`, and the connection type of this name, or the default.
    ///
    /// # Errors
    /// There is no such protocol or connection type, or the protocol does not support the type. The error names what was
    /// asked for and what there is.
    ///
    /// ```
    /// use hedge_fleet::Protocol;
    ///
    /// let (http, pooled) = Protocol::find(&[Protocol::HTTP], "http", None)?;
    /// assert_eq!((http, pooled.name()), (Protocol::HTTP, "pooled"));
    /// let error = Protocol::find(&[Protocol::HTTP], "http", Some("single")).unwrap_err();
    /// assert_eq!(error.to_string(), "connection_type \"single\": protocol \"http\" supports pooled");
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
            let known = table.iter().map(|protocol| protocol.name).collect();
            return Err(ProtocolError::Unknown { name: name.into(), known });
        };
        protocol.with(connection_type).map(|kind| (*protocol, kind))
    }

    /// The connection type of this name, or the default.
    ///
    /// # Errors
    /// There is no such connection type, or the protocol does not support it.
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

/// Why a protocol cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// There is no such protocol.
    Unknown {
        /// The name that was asked for.
        name: Box<str>,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// The program brings its own transport, which has its own protocol.
    OwnTransport,
    /// There is no such connection type.
    ConnectionType {
        /// The name that was asked for.
        name: Box<str>,
    },
    /// The protocol does not support the connection type.
    Unsupported {
        /// The protocol.
        protocol: Protocol,
        /// The type that was asked for.
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
                "protocol, connection_type: this channel has a transport of the program; leave them out of the file",
            ),
            Self::Unknown { name, known } => {
                write!(f, "protocol {name:?}: unknown; known are ")?;
                write_names(f, known)
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
            ("http", Some("short"), "connection_type \"short\": protocol \"http\" supports pooled"),
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

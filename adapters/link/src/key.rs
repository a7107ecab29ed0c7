//! The settings that channels must have in common to share connections: [`ConnectionKey`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::resolve::BoxResolve;
use crate::socket_options::SocketOptions;
#[cfg(feature = "_tls")]
use crate::tls::{Tls, TlsName};

/// The settings that must be equal for two channels to share the connections to a server ([C4](hedge_core::rules#C4)):
/// TLS, authentication, socket options, the connection group, and the limits that a connection enforces. The key does
/// not contain the server's address, the type of the runtime, or the type of the connection. They are compared too.
///
/// A key consists of named parts. A setting that has its default value needs no part.
///
/// ```
/// use hedge_link::{ConnectionKey, Identity};
///
/// let key = || ConnectionKey::new().with("max_head", 65_536);
/// assert_eq!(key(), key());
/// assert_ne!(key(), key().with("group", "reports"));
/// // A value that cannot be compared is equal only to itself.
/// let (one, other) = (Identity::new(), Identity::new());
/// assert_eq!(key().with("auth", one), key().with("auth", one));
/// assert_ne!(key().with("auth", one), key().with("auth", other));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ConnectionKey(Arc<BTreeMap<&'static str, KeyPart>>);

impl ConnectionKey {
    /// Makes the key of a channel whose settings all have their default values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns this key with one more part. If the key has a part with this name, the part is replaced.
    #[must_use]
    pub fn with(mut self, name: &'static str, part: impl Into<KeyPart>) -> Self {
        Arc::make_mut(&mut self.0).insert(name, part.into());
        self
    }
}

/// The value of a part of a [`ConnectionKey`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyPart {
    /// A number.
    Number(u64),
    /// A text.
    Text(Arc<str>),
    /// The identity of a value that cannot be compared, such as an authenticator.
    Identity(Identity),
    /// The options of sockets.
    Socket(Arc<SocketOptions>),
    /// A resolver. It is equal only to its clones.
    Resolver(BoxResolve),
    /// The settings of TLS, and the name that the server's certificate must have. The settings are equal only to their
    /// clones.
    #[cfg(feature = "_tls")]
    Tls(Tls, Option<TlsName>),
}

impl From<u64> for KeyPart {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for KeyPart {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Identity> for KeyPart {
    fn from(identity: Identity) -> Self {
        Self::Identity(identity)
    }
}

/// A number that identifies a value that cannot be compared, such as an authenticator. A value gets its identity when
/// it is made. All clones of the value have the same identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(u64);

impl Identity {
    /// Makes a new identity, which is unique in the process.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one, so there is no default")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

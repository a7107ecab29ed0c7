//! What all sources over HTTP have in common: [`HttpOptions`].

use hedge_core::time::Duration;
use hedge_link::{BoxResolve, Connector, KeepAlive, Runtime, SocketOptions};
#[cfg(feature = "_tls")]
use hedge_link::{Tls, TlsName};

/// What all sources over HTTP have in common: times, limits, and how connections are made.
///
/// | option | default |
/// |---|---|
/// | [`connect_timeout`](Self::connect_timeout) | 2 s for each endpoint |
/// | [`answer_timeout`](Self::answer_timeout) | 5 s |
/// | [`max_answer`](Self::max_answer) | 16 MiB |
/// | TLS | off; kubernetes: always on |
///
/// The head of an answer has at most 64 KiB and 100 headers. A list has at most 100,000 servers.
///
/// # Credentials
/// Credentials are sent over TLS, or to a loopback address. Otherwise the source fails before it has sent anything, and
/// its error says so. [`allow_clear_text_credentials`](Self::allow_clear_text_credentials) changes that.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
    pub(super) max_answer: usize,
    pub(super) clear_text: bool,
    resolver: BoxResolve,
    #[cfg(feature = "_tls")]
    tls: Option<(Tls, Option<TlsName>)>,
}

impl HttpOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
            max_answer: 16 << 20,
            clear_text: false,
            resolver: BoxResolve::default(),
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }

    /// How long a connection to one endpoint may take, with the look-up of its name and the TLS handshake. If it is 0, no
    /// source can be opened.
    #[must_use]
    pub const fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// How long an answer may take, from the start of the request to its last byte. An answer that waits for changes may
    /// take this much longer than the wait that was asked for. If it is 0, no source can be opened.
    #[must_use]
    pub const fn answer_timeout(mut self, time: Duration) -> Self {
        self.answer_timeout = time;
        self
    }

    /// The most bytes of an answer's body, and of one message of a watch. A body that announces more is refused before
    /// memory is allocated for it. While a list is read, the source needs a small multiple of this memory.
    #[must_use]
    pub const fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Credentials may be sent over connections that are not encrypted. Anyone on the way can then read and use them.
    #[must_use]
    pub const fn allow_clear_text_credentials(mut self) -> Self {
        self.clear_text = true;
        self
    }

    /// Resolves the names of endpoints.
    #[must_use]
    pub fn resolver(mut self, resolver: BoxResolve) -> Self {
        self.resolver = resolver;
        self
    }

    /// Encrypts connections. `name` is sent as SNI and must be in the endpoint's certificate. `None` means the
    /// endpoint's own host.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls, name: Option<TlsName>) -> Self {
        self.tls = Some((tls, name));
        self
    }

    /// Applies the options of a file, except TLS.
    #[cfg(feature = "serde")]
    pub(crate) fn apply(&mut self, config: &hedge_link::HttpSourceConfig) {
        if let Some(time) = config.connect_timeout {
            self.connect_timeout = time.get();
        }
        if let Some(time) = config.answer_timeout {
            self.answer_timeout = time.get();
        }
        if let Some(bytes) = config.max_answer {
            self.max_answer = usize::try_from(bytes.get()).unwrap_or(usize::MAX);
        }
        self.clear_text |= config.allow_clear_text_credentials;
    }

    /// How late a watch may end.
    #[cfg(feature = "_tls")]
    pub(crate) const fn late(&self) -> Duration {
        self.answer_timeout
    }

    /// The most bytes of a list that comes in several answers.
    pub(crate) const fn max_list(&self) -> usize {
        self.max_answer
    }

    /// What is wrong with these options.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, time) in [("connect_timeout", self.connect_timeout), ("answer_timeout", self.answer_timeout)] {
            if time.is_zero() {
                return Err(format!("HttpOptions::{name}: must be more than 0"));
            }
        }
        Ok(())
    }

    pub(crate) fn connector<R: Runtime>(&self, runtime: R) -> Connector<R> {
        let connector = Connector::new(runtime).resolver(self.resolver.clone()).socket_options(sockets());
        #[cfg(feature = "_tls")]
        if let Some((tls, name)) = &self.tls {
            return connector.tls(tls, name.clone(), &[b"http/1.1"]);
        }
        connector
    }
}

/// A watch is idle for long times, so TCP looks whether the other side is still there.
fn sockets() -> SocketOptions {
    let second = Duration::from_secs(1);
    let keep_alive = KeepAlive::after(15 * second).and_then(|alive| alive.every(5 * second)?.probes(3));
    keep_alive.map_or_else(|_| SocketOptions::new(), |alive| SocketOptions::new().keep_alive(alive))
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self::new()
    }
}

//! The options of the transport, before it is made: [`HttpSetup`].

use std::fmt;
use std::sync::Arc;

use ::http::request::Parts;
use hedge_core::drive::AttemptInfo;
use hedge_fleet::{Address, ConnectionType};
use hedge_link::{ConnectionKey, Connector, PoolSettings, Runtime};

use super::along_headers::AlongHeaders;
use super::attempt::drain::DrainOrClose;
#[cfg(feature = "http2")]
use super::attempt::http2::PingOptions;
use super::attempt::pool::HttpSettings;
use super::connect_options::{ConnectOptionError, ConnectOptions};
use super::default_headers::DefaultHeaders;
use super::limits::{HeadBytes, HeadLimits, HeaderCount};
use super::on_attempt::OnAttempt;
use super::origin::Origin;
use super::protocol_choice::ProtocolChoice;
use super::transport::Http;
use super::versions::HttpVersions;

/// The options of an [`Http`]. [`HttpSetup::connect_by`] makes it, which is the only way to one. So a transport has the
/// TLS, the sockets and the limits that it was given, from its first connection on.
pub struct HttpSetup {
    /// `connect_by` sets the versions, the connection type and the key.
    settings: HttpSettings,
}

impl HttpSetup {
    /// Makes a setup with the default of each option.
    #[must_use]
    pub fn new() -> Self {
        let settings = HttpSettings {
            max_body: 16 << 20,
            #[cfg(feature = "_coding")]
            max_decoded_body: 16 << 20,
            head: HeadLimits::DEFAULT,
            retry_stale_408: false,
            connection_type: ConnectionType::Pooled,
            idle: Arc::new(PoolSettings::new()),
            key: ConnectionKey::new(),
            versions: HttpVersions::Http1,
            #[cfg(feature = "http2")]
            ping: PingOptions::DEFAULT,
            drain: DrainOrClose::default(),
            default_headers: DefaultHeaders::default(),
            along: None,
            on_attempt: None,
            counts: Arc::default(),
        };
        Self { settings }
    }

    /// Sets the largest body that is read into memory, in bytes. Default: 16 MiB.
    pub const fn max_body(&mut self, bytes: usize) {
        self.settings.max_body = bytes;
    }

    /// Sets how large a body that is read into memory may become when it is decoded, in bytes. Default: 16 MiB.
    #[cfg(feature = "_coding")]
    pub const fn max_decoded_body(&mut self, bytes: usize) {
        self.settings.max_decoded_body = bytes;
    }

    /// Sets the largest head of an answer, in bytes. Default: 64 KiB.
    pub const fn max_head(&mut self, bytes: HeadBytes) {
        self.settings.head.set_max_head(bytes);
    }

    /// Sets how many header fields, and how many trailers, an answer may have. Default: 100.
    pub const fn max_headers(&mut self, fields: HeaderCount) {
        self.settings.head.set_max_headers(fields);
    }

    /// Sets whether a request is sent once more, on a new connection, if a connection that had been idle answers it
    /// with status 408 ([C3](hedge_core::rules#C3)). Default: false.
    pub const fn retry_stale_408(&mut self, retry: bool) {
        self.settings.retry_stale_408 = retry;
    }

    /// Returns the settings for idle connections.
    pub fn idle(&self) -> &PoolSettings {
        &self.settings.idle
    }

    /// Sets the group of the transport's connections ([C4](hedge_core::rules#C4)). Default: the group of all transports
    /// that name no group.
    pub fn connection_group(&mut self, name: &str) {
        self.settings.key = self.settings.key.clone().with("group", name);
    }

    /// Sets when HTTP/2 connections are pinged. Default: [`PingOptions::DEFAULT`].
    #[cfg(feature = "http2")]
    pub const fn ping(&mut self, options: PingOptions) {
        self.settings.ping = options;
    }

    /// Sets what happens to the connection of an attempt that is abandoned ([C2](hedge_core::rules#C2)). Default: it is
    /// drained.
    pub fn drain_or_close(&mut self, drain: DrainOrClose) {
        self.settings.drain = drain;
    }

    /// Returns the default headers, which the caller can change. Each request has them unless it sets them itself.
    /// Checks have them too. Default: none.
    pub const fn default_headers(&mut self) -> &mut DefaultHeaders {
        &mut self.settings.default_headers
    }

    /// Sets the headers that go along with each attempt ([W3](hedge_core::rules#W3)). Default: none.
    pub fn along(&mut self, headers: AlongHeaders) {
        self.settings.along = Some(Arc::new(headers)).filter(|headers| **headers != AlongHeaders::none());
    }

    /// Calls `on_attempt` for the head of each attempt before it is sent. It may change the headers. Default: nothing is called.
    pub fn on_attempt(&mut self, on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static) {
        self.settings.on_attempt = Some(OnAttempt::new(on_attempt));
    }

    /// Makes the transport. `connecting` says how it makes its connections, and `choice` which protocol they speak.
    /// `origin` is the URL that names the server, if there is one. Returns the transport, and its connector, which makes
    /// the connections.
    ///
    /// # Errors
    /// The options contradict each other, or need a feature: see [`ConnectOptionError`].
    pub fn connect_by<R: Runtime>(
        self,
        runtime: R,
        mut connecting: ConnectOptions,
        origin: Option<Origin>,
        choice: ProtocolChoice,
    ) -> Result<(Http<R>, Connector<R>), ConnectOptionError> {
        let Self { mut settings } = self;
        let connector = connecting.connector(&runtime, origin.as_ref(), choice)?;
        connecting.origin = origin;
        settings.connection_type = choice.connection_type;
        settings.versions = HttpVersions::of(choice, connector.is_tls());
        settings.key = settings.versions.add_to(connector.add_to(settings.head.add_to(settings.key)));
        Ok((Http::new(runtime, connector.clone(), connecting, settings), connector))
    }
}

impl Default for HttpSetup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HttpSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

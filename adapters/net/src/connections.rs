//! How a channel over HTTP keeps and shares its connections, when it is built and while it runs.

use std::time::Duration;

use hedge_fleet::{ConnectionType, Protocol};
use hedge_link::Runtime;

use crate::builder::Builder;
use crate::channel::Channel;
use crate::http::Http;

impl<R: Runtime> Builder<R, Http<R>> {
    /// How calls share connections ([C1](hedge_core::rules#C1)). Default: [`Pooled`](ConnectionType::Pooled).
    /// [`Short`](ConnectionType::Short) opens a connection for each attempt and asks the server to close it after its
    /// answer. Another type is [`BuildError::Protocol`](crate::BuildError::Protocol).
    pub fn connection_type(mut self, connection_type: ConnectionType) -> Self {
        self.connection_type = Some(connection_type.name().into());
        self
    }

    /// The protocol ([C1](hedge_core::rules#C1)). Default: [`Protocol::HTTP`].
    ///
    /// | protocol | in clear | over TLS |
    /// |---|---|---|
    /// | [`HTTP`](Protocol::HTTP) | HTTP/1.1 | HTTP/2 or HTTP/1.1, as the server chooses by ALPN, with the feature `http2`; else HTTP/1.1 |
    /// | the same, with a [`connection_type`](Self::connection_type) | HTTP/1.1 | HTTP/1.1 |
    /// | [`H2`](Protocol::H2), with the feature `http2` | HTTP/2 by prior knowledge | HTTP/2, by ALPN |
    ///
    /// Another protocol is [`BuildError::Protocol`](crate::BuildError::Protocol).
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol.name().into());
        self
    }

    /// The group of the channel's connections. The channels of a process share their idle connections to a server if they
    /// have the same group, and the same `max_head` and `max_headers` ([C4](hedge_core::rules#C4)). A connection is used
    /// only on the runtime that made it. Default: the group of all channels that name none.
    ///
    /// Name a group to keep a channel's connections apart, for instance if a proxy gives each connection to one tenant.
    pub fn connection_group(mut self, name: &str) -> Self {
        self.http.connection_group(name);
        self
    }

    /// How many idle connections are kept for each address. Default: 100, as in brpc's `max_connection_pool_size`. With
    /// 0, none are kept. Connections in use are not limited.
    ///
    /// If channels share connections, each channel counts all that are idle, and keeps a connection only if they are fewer
    /// than its own limit.
    pub fn max_idle_per_server(self, connections: usize) -> Self {
        self.http.idle().set_max_idle(connections);
        self
    }

    /// How long a connection may be idle before it is closed. Default: 10 s, as in brpc's `idle_timeout_second`. A server
    /// that announces a shorter time (`Keep-Alive: timeout=5`) is obeyed: its connection is closed 1 s before that, or
    /// after half of the time if that is less than 2 s.
    ///
    /// If channels share connections, the timeout of the channel that used a connection last counts.
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.http.idle().set_idle_timeout(timeout);
        self
    }

    /// How old a connection may be. An older one is closed when its call has ended, or while it is idle. So connections
    /// move to other servers behind a load balancer or a name, in time. Default: any age.
    ///
    /// If channels share connections, the limit of the channel that used a connection last counts.
    pub fn max_connection_age(self, age: Duration) -> Self {
        self.http.idle().set_max_age(age);
        self
    }

    /// How long idle connections are kept after the last channel that shares them has gone, as in brpc's
    /// `defer_close_second`. A channel that is made in time uses them. They are closed earlier if their idle time ends.
    /// Default: 0, so they are closed with the channel.
    pub fn defer_close(self, time: Duration) -> Self {
        self.http.idle().set_defer_close(time);
        self
    }
}

impl<R: Runtime> Channel<R, Http<R>> {
    /// Changes [`Builder::max_idle_per_server`]. If more connections than that are idle, the oldest of them that this
    /// channel used last are closed at once.
    pub fn set_max_idle_per_server(&self, connections: usize) {
        self.transport().idle().set_max_idle(connections);
        self.transport().idle_changed();
    }

    /// Changes [`Builder::idle_timeout`], also for the connections that are idle now, if this channel used them last.
    pub fn set_idle_timeout(&self, timeout: Duration) {
        self.transport().idle().set_idle_timeout(timeout);
        self.transport().idle_changed();
    }

    /// Changes [`Builder::max_connection_age`], also for the connections that exist.
    pub fn set_max_connection_age(&self, age: Duration) {
        self.transport().idle().set_max_age(age);
        self.transport().idle_changed();
    }

    /// Changes [`Builder::defer_close`].
    pub fn set_defer_close(&self, time: Duration) {
        self.transport().idle().set_defer_close(time);
    }
}

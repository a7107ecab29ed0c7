//! What the builder does with the HTTP transport when it makes the channel: [`Hooks`].

use ::http::uri::PathAndQuery;
use hedge_core::drive::SendTransport;
use hedge_fleet::Observers;
use hedge_http_transport::{CheckFn, ConnectOptionError, Http, Origin, ProtocolChoice};
use hedge_link::{BoxResolve, Connector, Runtime};

use crate::channel::{Attach, Keep};

/// What the builder does with the HTTP transport when it makes the channel. Other transports need none of this.
pub(crate) struct Hooks<R, T: SendTransport<Request: Sized>> {
    pub(crate) attach: Attach<T>,
    /// Applies how connections are made and which protocol they speak, once all settings are known. The server is that of
    /// a URL, if there is one.
    pub(crate) connect: Connect<R, T>,
    /// A check that asks for a path. It comes after `connect`.
    pub(crate) check: fn(&T, PathAndQuery) -> CheckFn,
    /// What resolves names.
    pub(crate) resolver: fn(&T) -> BoxResolve,
    /// Takes the observers of the channel.
    pub(crate) observe: fn(&T, &Observers),
    /// Restores the parts of a request that interceptors may not change.
    pub(crate) keep: Keep<T>,
}

impl<R: Runtime> Hooks<R, Http<R>> {
    /// Those of HTTP.
    pub(crate) const HTTP: Self = Self {
        attach: |response, owed| response.body_mut().attach(owed),
        connect: Http::connect_by,
        check: Http::check,
        resolver: |transport| transport.connect_options().resolver.clone(),
        observe: |transport, observers| transport.idle().observed_by(observers.clone()),
        keep: |changed, request| {
            changed.method_mut().clone_from(request.method());
            changed.uri_mut().clone_from(request.uri());
            *changed.version_mut() = request.version();
            changed.body_mut().clone_from(request.body());
        },
    };
}

type Connect<R, T> = fn(&mut T, Option<Origin>, ProtocolChoice) -> Result<Connector<R>, ConnectOptionError>;

//! Where a builder takes the transport of its channel from: [`Making`].

use ::http::uri::PathAndQuery;
use ::http::{Request, Response};
use hedge_core::drive::SendTransport;
use hedge_fleet::{Address, Protocol, ProtocolError};
use hedge_http_transport::{
    Body, CheckFn, ConnectOptions, Http, HttpError, HttpSetup, Origin, ProtocolChoice, RequestBody,
};
use hedge_link::{Connector, Runtime};

use crate::build_error::BuildError;
use crate::channel::{Attach, Keep};

/// Where a builder takes the transport of its channel from.
pub(crate) enum Making<R: Runtime, T: SendTransport<Request: Sized>> {
    /// It is the program's own.
    Own(T),
    /// It is made when the channel is built, once all options of HTTP are known.
    Http(OverHttp<R, T>),
}

impl<R: Runtime, T: SendTransport<Request: Sized>> Making<R, T> {
    /// Makes the transport of a channel. `names` are the protocol and its connection type, and `path` is what the channel's
    /// health checks ask for.
    pub(crate) fn make(
        self,
        runtime: &R,
        (http, connecting): (HttpSetup, ConnectOptions),
        origin: Option<Origin>,
        names: (Option<&str>, Option<&str>),
        path: Option<PathAndQuery>,
    ) -> Result<Made<R, T>, BuildError> {
        match self {
            Self::Own(transport) => {
                no_protocol(names).map_err(BuildError::Protocol)?;
                Ok(Made::own(transport, Connector::new(runtime.clone())))
            }
            Self::Http(over) => {
                let choice = protocol_choice(names).map_err(BuildError::Protocol)?;
                let made = http.connect_by(runtime.clone(), connecting, origin, choice);
                let (http, connector) = made.map_err(BuildError::Connecting)?;
                Ok(over.make(http, connector, path))
            }
        }
    }
}

/// How a transport over HTTP is made, and what HTTP has to do that other transports do not.
pub(crate) struct OverHttp<R: Runtime, T: SendTransport<Request: Sized>> {
    /// Puts a transport of the program around that of HTTP.
    wrap: Box<dyn FnOnce(Http<R>) -> T + Send>,
    attach: Attach<T>,
    keep: Keep<T>,
}

/// A transport, and what its channel has to do for it.
pub(crate) struct Made<R, T: SendTransport<Request: Sized>> {
    pub(crate) transport: T,
    /// Makes the connections of health checks.
    pub(crate) connector: Connector<R>,
    /// The check that asks for a path, if one was set.
    pub(crate) check: Option<CheckFn>,
    pub(crate) attach: Option<Attach<T>>,
    /// Restores the parts of a request that interceptors may not change.
    pub(crate) keep: Option<Keep<T>>,
}

impl<R, T> OverHttp<R, T>
where
    R: Runtime,
    T: SendTransport<Address = Address, Request = Request<RequestBody>, Reply = Response<Body>, Error = HttpError>,
{
    /// A transport that `wrap` makes of that of HTTP.
    pub(crate) fn new(wrap: impl FnOnce(Http<R>) -> T + Send + 'static) -> Self {
        Self {
            wrap: Box::new(wrap),
            attach: |response, owed| response.body_mut().attach(owed),
            keep: |changed, request| {
                changed.method_mut().clone_from(request.method());
                changed.uri_mut().clone_from(request.uri());
                *changed.version_mut() = request.version();
                changed.body_mut().clone_from(request.body());
            },
        }
    }
}

impl<R: Runtime, T: SendTransport<Request: Sized>> OverHttp<R, T> {
    /// The transport of a channel. `path` is what its health checks ask for.
    pub(crate) fn make(self, http: Http<R>, connector: Connector<R>, path: Option<PathAndQuery>) -> Made<R, T> {
        let check = path.map(|path| http.check(path));
        let Self { wrap, attach, keep } = self;
        Made { transport: wrap(http), connector, check, attach: Some(attach), keep: Some(keep) }
    }
}

impl<R, T: SendTransport<Request: Sized>> Made<R, T> {
    /// The program's own transport. `connector` makes the connections of health checks.
    pub(crate) fn own(transport: T, connector: Connector<R>) -> Self {
        Self { transport, connector, check: None, attach: None, keep: None }
    }
}

/// The protocol and its connection type, by their names.
fn protocol_choice((protocol, kind): (Option<&str>, Option<&str>)) -> Result<ProtocolChoice, ProtocolError> {
    let protocol = protocol.unwrap_or(Protocol::HTTP.name());
    let (protocol, connection_type) = Protocol::find(ProtocolChoice::ALL, protocol, kind)?;
    Ok(ProtocolChoice { protocol, connection_type, is_type_named: kind.is_some() })
}

/// Refuses the names, which mean nothing to a transport of the program.
const fn no_protocol(names: (Option<&str>, Option<&str>)) -> Result<(), ProtocolError> {
    match names {
        (None, None) => Ok(()),
        _ => Err(ProtocolError::OwnTransport),
    }
}

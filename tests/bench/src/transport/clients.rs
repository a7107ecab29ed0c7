//! The clients: each makes the same request, and reads the whole reply.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hedge_tokio::Protocol;
use hedge_tokio::http::RequestBody;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Version;
use super::server::BODY;

const PATH: &str = "/users/7?full=1";
const ACCEPT: (&str, &str) = ("accept", "application/json");
const TIMEOUT: Duration = Duration::from_secs(10);

/// What makes one request after the other.
pub(super) trait Caller: Send + 'static {
    /// Makes a request; answers whether the reply was as it should be.
    fn call(&mut self) -> impl Future<Output = bool> + Send;
}

fn request<B>(uri: &str, body: B) -> Option<Request<B>> {
    Request::get(uri).header(ACCEPT.0, ACCEPT.1).body(body).ok()
}

/// hyper's connection over HTTP/1.1 as it is, without a pool: the least that hyper can cost.
pub(super) struct Bare {
    sender: http1::SendRequest<Empty<Bytes>>,
    host: String,
}

pub(super) async fn bare(server: SocketAddr) -> Result<Bare, String> {
    let stream = TokioIo::new(connect(server).await?);
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(Bare { sender, host: server.to_string() })
}

async fn connect(server: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

impl Caller for Bare {
    async fn call(&mut self) -> bool {
        let Some(mut request) = request(PATH, Empty::new()) else { return false };
        let Ok(host) = self.host.parse() else { return false };
        request.headers_mut().insert("host", host);
        if self.sender.ready().await.is_err() {
            return false;
        }
        let Ok(reply) = self.sender.send_request(request).await else { return false };
        reply.collect().await.is_ok_and(|body| body.to_bytes().len() == BODY)
    }
}

/// hyper's connection over HTTP/2 as it is, which all callers share.
#[derive(Clone)]
pub(super) struct BareHttp2 {
    sender: http2::SendRequest<Empty<Bytes>>,
    url: String,
}

pub(super) async fn bare_http2(server: SocketAddr) -> Result<BareHttp2, String> {
    let stream = TokioIo::new(connect(server).await?);
    let made = http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = made.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(BareHttp2 { sender, url: format!("http://{server}{PATH}") })
}

impl Caller for BareHttp2 {
    async fn call(&mut self) -> bool {
        let Some(request) = request(&self.url, Empty::new()) else { return false };
        if self.sender.ready().await.is_err() {
            return false;
        }
        let Ok(reply) = self.sender.send_request(request).await else { return false };
        reply.collect().await.is_ok_and(|body| body.to_bytes().len() == BODY)
    }
}

pub(super) struct HyperUtil {
    client: legacy::Client<HttpConnector, Empty<Bytes>>,
    url: String,
}

pub(super) fn hyper_util(server: SocketAddr, version: Version) -> impl FnMut() -> Result<HyperUtil, String> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http2 = version == Version::Http2;
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
    move || Ok(HyperUtil { client: client.clone(), url: format!("http://{server}{PATH}") })
}

impl Caller for HyperUtil {
    async fn call(&mut self) -> bool {
        let Some(request) = request(&self.url, Empty::new()) else { return false };
        let Ok(reply) = self.client.request(request).await else { return false };
        reply.collect().await.is_ok_and(|body| body.to_bytes().len() == BODY)
    }
}

pub(super) struct Reqwest {
    client: reqwest::Client,
    url: String,
}

pub(super) fn reqwest(server: SocketAddr, version: Version) -> Result<impl FnMut() -> Result<Reqwest, String>, String> {
    let builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
    let builder = match version {
        Version::Http1 => builder,
        Version::Http2 => builder.http2_prior_knowledge(),
    };
    let client = builder.build().map_err(|error| error.to_string())?;
    Ok(move || Ok(Reqwest { client: client.clone(), url: format!("http://{server}{PATH}") }))
}

impl Caller for Reqwest {
    async fn call(&mut self) -> bool {
        let Ok(reply) = self.client.get(&self.url).header(ACCEPT.0, ACCEPT.1).send().await else { return false };
        reply.bytes().await.is_ok_and(|body| body.len() == BODY)
    }
}

pub(super) struct Hedged(hedge_tokio::Channel);

/// A channel with a time limit, and with a backup after `backup`.
pub(super) fn hedged(
    server: SocketAddr,
    version: Version,
    backup: Option<Duration>,
) -> Result<impl FnMut() -> Result<Hedged, String>, String> {
    let builder = hedge_tokio::builder(server.to_string()).timeout(TIMEOUT);
    let builder = match version {
        Version::Http1 => builder,
        Version::Http2 => builder.protocol(Protocol::H2),
    };
    // There is one server, which the backup may go to as well.
    let builder = if let Some(backup) = backup { builder.backup(backup).same_server_backup(true) } else { builder };
    let channel = builder.build().map_err(|error| error.to_string())?;
    Ok(move || Ok(Hedged(channel.clone())))
}

impl Caller for Hedged {
    async fn call(&mut self) -> bool {
        let Some(request) = request(PATH, RequestBody::Empty) else { return false };
        let Ok(reply) = self.0.call(request).await else { return false };
        reply.body().bytes().is_some_and(|body| body.len() == BODY)
    }
}

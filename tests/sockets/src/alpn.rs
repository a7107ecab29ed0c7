//! ALPN: which version of HTTP a channel speaks over TLS.

use std::sync::Arc;

use hedge_core::policy::AttemptError as _;
use hedge_net::http::{HttpError, ProtocolError};
use hedge_net::{Protocol, Runtime};
use http::Version;

use super::http2::all;
use super::http2_server::{Http2Server, Settings, answer};
use super::tls_server::{Authority, TlsServer};
use super::{HttpBuilder, get, list, post};

const NAME: &str = "server.test";

fn tls<R: Runtime>(runtime: &R, authority: &Authority, address: std::net::SocketAddr) -> HttpBuilder<R> {
    list(runtime, &[address]).tls(authority.client().build().unwrap()).tls_name(NAME)
}

fn tls_server(authority: &Authority, alpn: &[&str]) -> Http2Server {
    let mut config = authority.server(authority.sign(NAME, 1), false);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let settings = Settings { tls: Some(Arc::new(config)), ..Settings::default() };
    Http2Server::start(settings, |asked| async move {
        let uri = asked.request.uri().to_string();
        answer(asked.respond, &uri);
    })
}

pub async fn c6_alpn_chooses_the_version<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let new = tls_server(&authority, &["h2", "http/1.1"]);
    let channel = tls(&runtime, &authority, new.address).build().unwrap();
    let replies = all((0..20).map(|_| channel.call(get("/x")))).await;
    for reply in replies {
        let reply = reply.unwrap();
        assert_eq!(reply.version(), Version::HTTP_2);
        assert_eq!(reply.text().unwrap(), format!("https://{NAME}:{}/x", new.address.port()));
        assert!(reply.connection().unwrap().is_http2());
    }
    assert_eq!(new.accepted.count(), 1);
    // A server of HTTP/1.1 alone, and one that knows no ALPN.
    for alpn in [vec![b"http/1.1".to_vec()], Vec::new()] {
        let mut config = authority.server(authority.sign(NAME, 1), false);
        config.alpn_protocols = alpn;
        let old = TlsServer::telling(config);
        let channel = tls(&runtime, &authority, old.address).build().unwrap();
        let replies = all((0..10).map(|_| channel.call(get("/x")))).await;
        assert!(replies.into_iter().all(|reply| reply.unwrap().version() == Version::HTTP_11));
        let accepted = old.accepted.count();
        assert!(accepted <= 10, "the connection that found out is used: {accepted}");
        assert_eq!(channel.call(get("/")).await.unwrap().version(), Version::HTTP_11);
        assert_eq!(old.accepted.count(), accepted);
    }
    // A named type of connection is HTTP/1.1's.
    let both = TlsServer::telling({
        let mut config = authority.server(authority.sign(NAME, 1), false);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    });
    let pooled = tls(&runtime, &authority, both.address).connection_type(hedge_net::ConnectionType::Pooled);
    assert_eq!(pooled.build().unwrap().call(get("/")).await.unwrap().version(), Version::HTTP_11);
}

pub async fn c6_http2_alone_needs_a_server_that_agrees<R: Runtime>(runtime: R) {
    let authority = Authority::create();
    let mut config = authority.server(authority.sign(NAME, 1), false);
    config.alpn_protocols = Vec::new();
    let old = TlsServer::telling(config);
    let channel = tls(&runtime, &authority, old.address).protocol(Protocol::H2).build().unwrap();
    let error = channel.call(post("/")).await.unwrap_err();
    let Some(Err(error @ HttpError::Protocol(ProtocolError::NoVersion))) = error.last() else { panic!("{error}") };
    assert!(error.never_left());
    let new = tls_server(&authority, &["h2"]);
    let channel = tls(&runtime, &authority, new.address).protocol(Protocol::H2).build().unwrap();
    assert_eq!(channel.call(post("/")).await.unwrap().version(), Version::HTTP_2);
    let wrong = list(&runtime, &[new.address]).protocol(Protocol::H2);
    let error = wrong.connection_type(hedge_net::ConnectionType::Pooled).build().unwrap_err();
    assert_eq!(error.to_string(), "connection_type \"pooled\": protocol \"h2\" supports single");
}

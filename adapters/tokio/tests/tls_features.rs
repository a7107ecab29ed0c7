//! TLS with the features that no other test has: aws-lc-rs, and Mozilla's roots (C6).
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::net::SocketAddr;
use std::time::Duration;

use hedge_sockets::tls_server::{Authority, TlsServer};
use hedge_tokio::{Builder, Tls};

const NAME: &str = "127.0.0.1";
/// No handshake takes that long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn builder(server: SocketAddr, tls: Tls) -> Builder {
    hedge_tokio::builder(format!("https://{server}")).tls(tls).timeout(PATIENCE).connect_timeout(PATIENCE).max_retry(0)
}

#[tokio::test]
async fn c6_aws_lc_rs_shakes_hands() {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let tls = authority.client().build().unwrap();
    let channel = builder(there.address, tls).build().unwrap();
    let told = channel.get("/users").await.unwrap().text().unwrap();
    assert!(told.contains("GET /users HTTP/1.1"), "{told}");
}

#[tokio::test]
async fn c6_mozillas_roots_do_not_have_a_root_of_ones_own() {
    let authority = Authority::create();
    let there = TlsServer::telling(authority.server(authority.sign(NAME, 1), false));
    let ask = async |tls: Tls| {
        let channel = builder(there.address, tls).build().unwrap();
        channel.get("/").await.map(drop).map_err(|error| error.to_string())
    };
    let mozillas = ask(Tls::builder().webpki_roots().build().unwrap()).await.unwrap_err();
    assert!(mozillas.contains("leads to no trusted root"), "{mozillas}");
    let own = [authority.root.clone()];
    let before = Tls::builder().root_certificates(own.clone()).webpki_roots();
    let after = Tls::builder().webpki_roots().root_certificates(own);
    for both in [before, after] {
        assert_eq!(ask(both.build().unwrap()).await, Ok(()), "roots add up");
    }
}

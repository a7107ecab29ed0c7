//! Calls over HTTP/2 and TLS to two servers, one of which is slow. The calls to a server share one connection, and the loser
//! of a hedged call costs no connection: its stream is reset.
//! Run it: cargo run --release -p hedge-examples --example tls_h2

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hedge_tokio::Tls;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const NAME: &str = "users.internal";

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let certified = generate_simple_self_signed([NAME.to_owned()])?;
    let acceptor = acceptor(&certified)?;
    let slow = serve(acceptor.clone(), "slow", Duration::from_millis(500)).await?;
    let quick = serve(acceptor, "quick", Duration::from_millis(1)).await?;

    // A program without a root of its own leaves `tls` out and names its server `https://users.example.com`.
    let tls = Tls::builder().root_certificates([certified.cert.der().clone()]).build()?;
    let channel = hedge_tokio::builder(format!("list://{slow},{quick}"))
        .load_balancer("rr")
        .timeout(Duration::from_secs(2))
        .backup(Duration::from_millis(20))
        .tls(tls)
        .tls_name(NAME)
        .build()?;

    for call in 1..=6 {
        let reply = channel.get("/users/7").await?;
        let (version, attempts) = (reply.version(), reply.report().attempts().len());
        println!("call {call}: {} over {version:?}, {attempts} attempts", reply.text()?);
    }
    let counters = channel.transport().counters();
    println!("connections opened: {}, streams reset: {}", counters.opened, counters.reset);
    Ok(())
}

fn acceptor(certified: &CertifiedKey<rcgen::KeyPair>) -> Result<TlsAcceptor, BoxError> {
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Starts a server that answers each request with its name after a time.
async fn serve(acceptor: TlsAcceptor, name: &'static str, after: Duration) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(acceptor.clone(), stream, name, after));
        }
    });
    Ok(address)
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    name: &'static str,
    after: Duration,
) -> Result<(), BoxError> {
    let mut connection = h2::server::handshake(acceptor.accept(stream).await?).await?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request?;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            // An error means that the client has reset the stream.
            let mut body = respond.send_response(http::Response::new(()), false)?;
            body.send_data(name.into(), true)
        });
    }
    Ok(())
}

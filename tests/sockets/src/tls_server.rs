//! A server behind TLS, on threads, and the certificates for it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use hedge_net::{Tls, TlsBuilder};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::server::ok;
use super::signal::Signal;

/// Who signs certificates.
pub struct Authority {
    pub root: CertificateDer<'static>,
    pub root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Every authority has a name of its own, by which a certificate says who signed it.
    pub fn create() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { root, root_pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name, which is valid until some days from now, or expired some days ago.
    pub fn sign(&self, name: &str, days: i64) -> Identity {
        let (certificate, key) = self.signed(name, days);
        Identity { chain: vec![certificate.der().clone()], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    /// The same as two texts in PEM: the certificate and its key.
    pub fn sign_pem(&self, name: &str, days: i64) -> [String; 2] {
        let (certificate, key) = self.signed(name, days);
        [certificate.pem(), key.serialize_pem()]
    }

    fn signed(&self, name: &str, days: i64) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let at = SystemTime::now() + day * u32::try_from(days.max(0)).unwrap();
        params.not_after = (at - day * u32::try_from((-days).max(0)).unwrap()).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }

    /// Settings of a client that trusts this authority.
    pub fn client(&self) -> TlsBuilder {
        Tls::builder().root_certificates([self.root.clone()])
    }

    /// Settings of a server with this certificate. If `demands` is set, clients need one of this authority too.
    pub fn server(&self, identity: Identity, demands: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if demands {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(identity.chain, identity.key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// A connection behind TLS.
pub type Secured = StreamOwned<ServerConnection, TcpStream>;

pub struct TlsServer {
    pub address: SocketAddr,
    pub accepted: Signal,
}

impl TlsServer {
    /// Runs `script` on a thread for each connection whose handshake has succeeded.
    pub fn start(config: ServerConfig, script: impl Fn(&mut Secured) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Self { address: listener.local_addr().unwrap(), accepted: Signal::new() };
        let (accepted, config, script) = (server.accepted.clone(), Arc::new(config), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                accepted.raise();
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                thread::spawn(move || {
                    let session = ServerConnection::new(config).unwrap();
                    let mut stream = StreamOwned::new(session, stream.unwrap());
                    if stream.conn.complete_io(&mut stream.sock).is_ok() {
                        script(&mut stream);
                    }
                });
            }
        });
        server
    }

    /// Answers every request with its SNI, its ALPN and its head.
    pub fn telling(config: ServerConfig) -> Self {
        Self::start(config, |stream| {
            while let Some(head) = head(stream) {
                let (sni, alpn) = (stream.conn.server_name().map(str::to_owned), stream.conn.alpn_protocol());
                let alpn = alpn.map(|alpn| String::from_utf8_lossy(alpn).into_owned());
                stream.write_all(ok(&format!("{sni:?} {alpn:?} {head}")).as_bytes()).unwrap();
            }
        })
    }
}

/// The head of the next request. `None` once the client has closed.
pub fn head(stream: &mut Secured) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|read| read == 1) {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

//! Makes the settings of TLS: [`TlsBuilder`].

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Tls;
use super::unverified::{DangerousNoVerification, Unverified};

/// Makes the settings [`Tls`]. By default, the roots of the operating system are trusted, and the client has no
/// certificate.
#[must_use = "a builder does nothing until it is built"]
#[derive(Debug)]
pub struct TlsBuilder {
    trust: Result<Trust, TlsConfigError>,
    client: Option<Result<Client, TlsConfigError>>,
}

/// The servers that are trusted: those with a certificate from the system's roots, from given roots, or all servers.
#[derive(Debug)]
enum Trust {
    System,
    Roots(RootCertStore),
    Anyone,
}

impl Trust {
    /// Returns the roots that were given so far.
    fn roots(self) -> RootCertStore {
        match self {
            Self::Roots(store) => store,
            Self::System | Self::Anyone => RootCertStore::empty(),
        }
    }
}

/// The chain of the client's certificate, beginning with this certificate, and the key of the certificate.
type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl TlsBuilder {
    pub(super) const fn new() -> Self {
        Self { trust: Ok(Trust::System), client: None }
    }

    /// Trusts the root certificates in `pem`, a text in PEM. The roots of the operating system are then not trusted.
    /// All roots of several calls are trusted.
    pub fn root_pem(self, pem: &[u8]) -> Self {
        match certificates("root certificates", pem) {
            Ok(roots) => self.root_certificates(roots),
            Err(error) => Self { trust: self.trust.and(Err(error)), ..self },
        }
    }

    /// Trusts these root certificates, which are in DER. The roots of the operating system are then not trusted. All
    /// roots of several calls are trusted.
    pub fn root_certificates(mut self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.trust = self.trust.and_then(|trust| {
            let mut store = trust.roots();
            for root in roots {
                store.add(root).map_err(TlsConfigError::Root)?;
            }
            Ok(Trust::Roots(store))
        });
        self
    }

    /// Trusts Mozilla's roots, which are compiled in. The roots of the operating system are then not trusted. Roots
    /// that are given before or after this call are trusted too.
    #[cfg(feature = "tls-webpki-roots")]
    pub fn webpki_roots(mut self) -> Self {
        self.trust = self.trust.map(|trust| {
            let mut store = trust.roots();
            store.roots.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
            Trust::Roots(store)
        });
        self
    }

    /// Sets the client's certificate, with which the client proves its identity. `chain` is this certificate, followed
    /// by the certificates between it and a root. `key` is the private key of the certificate. Both are in PEM.
    pub fn client_certificate_pem(self, chain: &[u8], key: &[u8]) -> Self {
        let client = certificates("client certificate", chain).and_then(|chain| {
            let key = PrivateKeyDer::from_pem_slice(key);
            Ok((chain, key.map_err(|error| TlsConfigError::pem("client key", &error))?))
        });
        Self { client: Some(client), ..self }
    }

    /// Sets the client's certificate, as in [`client_certificate_pem`](Self::client_certificate_pem), but in DER.
    pub fn client_certificate(self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { client: Some(Ok((chain, key))), ..self }
    }

    /// Trusts every server. Then an attacker between client and server can read and change all data. Use this only for
    /// tests.
    pub fn trust_anyone(mut self, _: DangerousNoVerification) -> Self {
        self.trust = self.trust.map(|_| Trust::Anyone);
        self
    }

    /// Makes the settings.
    ///
    /// # Errors
    /// Returns an error for the first setting that is wrong.
    pub fn build(self) -> Result<Tls, TlsConfigError> {
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsConfigError::Rustls)?;
        let builder = match self.trust? {
            Trust::System => builder.with_root_certificates(system_roots()?),
            Trust::Roots(store) if store.is_empty() => {
                return Err(TlsConfigError::NoRoots { why: "none given".into() });
            }
            Trust::Roots(store) => builder.with_root_certificates(store),
            Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider))),
        };
        let config = match self.client.transpose()? {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsConfigError::ClientCertificate),
            None => Ok(builder.with_no_client_auth()),
        };
        Ok(Tls::from_config(Arc::new(config?)))
    }
}

#[cfg(feature = "tls-aws-lc")]
fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(all(feature = "tls", not(feature = "tls-aws-lc")))]
fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(not(any(feature = "tls", feature = "tls-aws-lc")))]
compile_error!("the feature `_tls` has no cryptography: use `tls` or `tls-aws-lc`");

/// Returns the roots of the operating system. Certificates that cannot be parsed are left out, since the lists of
/// operating systems often contain such certificates.
fn system_roots() -> Result<RootCertStore, TlsConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map_or_else(|| "none found".into(), native_fault);
        return Err(TlsConfigError::NoRoots { why });
    }
    Ok(store)
}

/// Returns the reason why the roots of the operating system could not be read, without the content of a file.
fn native_fault(error: &rustls_native_certs::Error) -> Box<str> {
    match &error.kind {
        rustls_native_certs::ErrorKind::Pem(fault) => format!("{}: {}", error.context, pem_fault(fault)).into(),
        _ => error.to_string().into(),
    }
}

/// Returns the reason why a text is not PEM. The error's own text is not used, since it shows a line of the input, which
/// may be a private key.
const fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a line -----END is missing; -----BEGIN, the content and -----END must be on lines of their own"
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line -----BEGIN has more text behind its label; the content must begin on the next line"
        }
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::Io(_) => "it cannot be read",
        pem::Error::NoItemsFound => "none found",
        pem::Error::SectionTooLarge => "a section is larger than 256 MB",
        _ => "it cannot be parsed",
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsConfigError::pem(what, &error))?;
    if certificates.is_empty() { Err(TlsConfigError::Pem { what, why: "none found" }) } else { Ok(certificates) }
}

/// The reason why the settings of TLS are not valid.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// No root is trusted, since the system has no roots, or since no root was given.
    NoRoots {
        /// The reason as text.
        why: Box<str>,
    },
    /// A text is not valid PEM.
    Pem {
        /// The content that the text should have, such as `client key`.
        what: &'static str,
        /// The reason. It never shows the text, which may be a private key.
        why: &'static str,
    },
    /// A root is not a valid certificate.
    Root(rustls::Error),
    /// The client's certificate or its key is not valid, or the two do not belong together.
    ClientCertificate(rustls::Error),
    /// The name that the server's certificate must have is neither a host name nor an IP address.
    Name {
        /// The name.
        name: Box<str>,
    },
    /// The crate rustls refuses the settings.
    Rustls(rustls::Error),
}

impl TlsConfigError {
    const fn pem(what: &'static str, error: &pem::Error) -> Self {
        Self::Pem { what, why: pem_fault(error) }
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots { why } => write!(f, "no root certificate: {why}; give one by root_pem"),
            Self::Pem { what, why } => write!(f, "{what}: not pem: {why}"),
            Self::Root(error) => write!(f, "root certificate: {error}"),
            Self::ClientCertificate(error) => write!(f, "client certificate: {error}"),
            Self::Name { name } => write!(f, "tls name {name:?}: not a host name and not an ip address"),
            Self::Rustls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsConfigError {}

#[cfg(test)]
mod tests {
    use super::super::TlsName;
    use super::*;

    #[test]
    fn c6_settings_that_cannot_work_say_why() {
        let error = |builder: TlsBuilder| builder.build().unwrap_err().to_string();
        for (error, expected) in [
            (error(Tls::builder().root_pem(b"")), "root certificates: not pem: none found"),
            (error(Tls::builder().root_pem(b"-----BEGIN X")), "root certificates: not pem: "),
            (error(Tls::builder().root_certificates([])), "no root certificate: none given; give one by root_pem"),
            (error(Tls::builder().root_certificates([vec![1].into()])), "root certificate: "),
            (error(Tls::builder().client_certificate_pem(b"", b"")), "client certificate: not pem: none found"),
        ] {
            assert!(error.starts_with(expected), "{error}");
        }
        let name = TlsName::new("a b").unwrap_err().to_string();
        assert_eq!(name, "tls name \"a b\": not a host name and not an ip address");
        assert!(TlsName::new("example.com").is_ok() && TlsName::new("::1").is_ok());
    }

    #[test]
    fn c6_an_error_does_not_show_the_key_that_it_is_about() {
        const SECRET: &str = "c2VjcmV0";
        let bytes: Vec<_> = SECRET.bytes().map(|byte| byte.to_string()).collect();
        let is_shown = |text: &str| text.contains(SECRET) || text.contains(&bytes.join(", "));
        let key = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
        let chain = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        for (bad, expected) in [
            (key.replace('\n', ""), "a line -----END is missing"),
            (key.replace('\n', " "), "a line -----END is missing"),
            (key.replace('\n', "\\n"), "a line -----BEGIN has more text behind its label"),
            (key.replace(SECRET, &format!("{SECRET}?")), "a section is not base64"),
            (key.replace("END", "FIN"), "a line -----END is missing"),
        ] {
            for (what, builder) in [
                ("client key", Tls::builder().client_certificate_pem(chain, bad.as_bytes())),
                ("client certificate", Tls::builder().client_certificate_pem(bad.as_bytes(), b"")),
                ("root certificates", Tls::builder().root_pem(bad.as_bytes())),
            ] {
                assert!(!is_shown(&format!("{builder:?}")), "{builder:?}");
                let error = builder.build().unwrap_err();
                assert!(!is_shown(&format!("{error:?} {error}")), "{error:?}");
                let start = format!("{what}: not pem: {expected}");
                assert!(error.to_string().starts_with(&start), "{error}");
            }
            let fault = pem::Error::IllegalSectionStart { line: bad.clone().into_bytes() };
            let native =
                rustls_native_certs::Error { context: "roots", kind: rustls_native_certs::ErrorKind::Pem(fault) };
            assert!(is_shown(&native.to_string()) && !is_shown(&native_fault(&native)), "{bad}");
        }
    }

    #[test]
    fn c4_settings_are_equal_to_their_clones_alone() {
        let tls = || Tls::builder().trust_anyone(DangerousNoVerification).build().unwrap();
        let one = tls();
        assert_eq!(one, one.clone());
        assert_ne!(one, tls());
    }
}

//! TLS to the endpoints of sources, as a file describes it: [`SourceTlsConfig`].

use serde::Deserialize;

use super::super::{TlsConfig, TlsFileError};
use super::{SourcesConfigError, fields};
use crate::tls::{Tls, TlsName};

/// TLS to the endpoints of the sources over HTTP. The fields mean the same as in [`TlsConfig`]. Verification cannot be
/// switched off by a file here, since these connections may carry credentials.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SourceTlsConfig {
    /// The file of the root certificates that are trusted. Absent: the roots of the operating system.
    #[serde(deserialize_with = "fields::tls_roots")]
    pub roots: Option<Box<str>>,
    /// The file with the client's certificate first, and then the intermediate certificates. `client_key` must be set
    /// too.
    #[serde(deserialize_with = "fields::tls_client_certificate")]
    pub client_certificate: Option<Box<str>>,
    /// The file of the private key of the client's certificate.
    #[serde(deserialize_with = "fields::tls_client_key")]
    pub client_key: Option<Box<str>>,
    /// The name that the certificate of an endpoint must have. Absent: the host of the endpoint.
    #[serde(deserialize_with = "fields::tls_server_name")]
    pub server_name: Option<Box<str>>,
}

impl SourceTlsConfig {
    /// Reads the files, and makes the settings of TLS and the name. This blocks.
    ///
    /// # Errors
    /// A file cannot be read, its content cannot be used, or a field is missing.
    pub fn read(&self) -> Result<(Tls, Option<TlsName>), SourcesConfigError> {
        let Self { roots, client_certificate, client_key, server_name } = self.clone();
        let name = server_name.as_deref().map(TlsName::new).transpose();
        let name = name.map_err(|error| SourcesConfigError::Tls(TlsFileError::Settings(error)))?;
        let config = TlsConfig { roots, client_certificate, client_key, ..TlsConfig::default() };
        Ok((config.read().map_err(SourcesConfigError::Tls)?, name))
    }

    /// Whether the settings depend on the content of files.
    #[must_use]
    pub const fn has_files(&self) -> bool {
        self.roots.is_some() || self.client_certificate.is_some()
    }
}

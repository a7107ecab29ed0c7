//! TLS as a file describes it: [`TlsConfig`].

use std::fmt;
use std::fs;
use std::io::{self, Read as _};

use hedge_core::config::reading::optional;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::tls::{DangerousNoVerification, Tls, TlsConfigError, TlsName};

/// TLS as a file describes it. Certificates and keys are paths of files in PEM. A path that is relative is relative to the
/// working directory of the process. The files are read when the configuration is applied to a builder.
///
/// ```
/// use hedge_link::ChannelFile;
///
/// let text = r#"{"tls": {"roots": "/etc/tls/root.pem", "client_certificate": "/etc/tls/client.pem",
///                        "client_key": "/etc/tls/client.key", "server_name": "users.internal"}}"#;
/// let config: ChannelFile = serde_json::from_str(text)?;
/// assert!(config.tls.is_some_and(|tls| !tls.dangerous_no_verification));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The file of the root certificates that are trusted. Absent: the roots of the operating system.
    #[serde(deserialize_with = "roots")]
    pub roots: Option<Box<str>>,
    /// The file with the client's certificate first, and then the intermediate certificates. `client_key` must be set
    /// too.
    #[serde(deserialize_with = "client_certificate")]
    pub client_certificate: Option<Box<str>>,
    /// The file of the private key of the client's certificate.
    #[serde(deserialize_with = "client_key")]
    pub client_key: Option<Box<str>>,
    /// The name that the certificate of a server must have. It is also sent to the server (SNI). Absent: the host of
    /// the server.
    #[serde(deserialize_with = "server_name")]
    pub server_name: Option<Box<str>>,
    /// Trusts every server, as [`DangerousNoVerification`] does: then an attacker between client and server can read and
    /// change all data. Absent: false.
    #[serde(deserialize_with = "dangerous_no_verification")]
    pub dangerous_no_verification: bool,
}

impl TlsConfig {
    /// Reads the files, and makes the settings of TLS. This blocks.
    ///
    /// Channels share connections only if they have the same settings, which are those of one [`Tls`] and of its clones
    /// ([C4](hedge_core::rules#C4)). If the file names no roots and no certificate, and verification is on, the settings are
    /// those of [`Tls::system`], which is the same for all channels. In all other cases, each call makes new settings, since
    /// the content of the files may have changed. To share connections then, call this once, and give each builder a clone
    /// by `tls`, after its file.
    ///
    /// # Errors
    /// A file cannot be read, its content cannot be used, or fields contradict each other.
    pub fn read(&self) -> Result<Tls, TlsFileError> {
        if let Some(name) = &self.server_name {
            TlsName::new(name).map_err(TlsFileError::Settings)?;
        }
        let Self { roots: None, client_certificate: None, client_key: None, dangerous_no_verification: false, .. } =
            self
        else {
            return self.read_own();
        };
        Tls::system().map_err(TlsFileError::Settings)
    }

    /// Makes settings that are not those of the system.
    fn read_own(&self) -> Result<Tls, TlsFileError> {
        let mut builder = Tls::builder();
        match (&self.roots, self.dangerous_no_verification) {
            (Some(_), true) => return Err(TlsFileError::RootsUnused),
            (Some(path), false) => builder = builder.root_pem(&file("tls.roots", path)?),
            (None, true) => builder = builder.trust_anyone(DangerousNoVerification),
            (None, false) => {}
        }
        match (&self.client_certificate, &self.client_key) {
            (Some(chain), Some(key)) => {
                let (chain, key) = (file("tls.client_certificate", chain)?, file("tls.client_key", key)?);
                builder = builder.client_certificate_pem(&chain, &key);
            }
            (Some(_), None) => return Err(TlsFileError::Alone { there: "client_certificate", missing: "client_key" }),
            (None, Some(_)) => return Err(TlsFileError::Alone { there: "client_key", missing: "client_certificate" }),
            (None, None) => {}
        }
        builder.build().map_err(TlsFileError::Settings)
    }
}

/// The most bytes of a file: 16 MiB. All roots of an operating system have some 250 KB.
const MOST: u64 = 16 << 20;

/// Returns the content of a file.
fn file(field: &'static str, path: &str) -> Result<Vec<u8>, TlsFileError> {
    let path = as_path(field, path)?;
    let unreadable = |error: io::Error| TlsFileError::Unreadable {
        field,
        path: path.into(),
        kind: error.kind(),
        why: error.to_string().into(),
    };
    let read = || {
        let mut bytes = Vec::new();
        let size = fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if size as u64 > MOST { Err(io::Error::other("the file is larger than 16 MiB")) } else { Ok(bytes) }
    };
    read().map_err(unreadable)
}

/// Returns `path`, unless it is the content of a file in PEM. Then it may be a private key, which an error about a path would
/// show.
fn as_path<T: AsRef<str>>(field: &'static str, path: T) -> Result<T, TlsFileError> {
    if path.as_ref().contains("-----BEGIN") { Err(TlsFileError::NotAPath { field }) } else { Ok(path) }
}

/// Why `tls` of a file cannot be used.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum TlsFileError {
    /// A file cannot be read.
    Unreadable {
        /// The field, such as `tls.roots`.
        field: &'static str,
        /// The path.
        path: Box<str>,
        /// The kind of the operating system's error.
        kind: io::ErrorKind,
        /// The operating system's error as text.
        why: Box<str>,
    },
    /// A field has the content of a file in PEM, instead of its path. The text is not stored, so that a private key cannot
    /// get into a log.
    NotAPath {
        /// The field, such as `tls.client_key`.
        field: &'static str,
    },
    /// The content of a file cannot be used.
    Settings(TlsConfigError),
    /// A certificate without its key, or a key without its certificate.
    Alone {
        /// The field that is there.
        there: &'static str,
        /// The field that is missing.
        missing: &'static str,
    },
    /// Roots are named, and every server is trusted.
    RootsUnused,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { field, path, why, .. } => write!(f, "{field} {path:?}: cannot be read: {why}"),
            Self::NotAPath { field } => {
                write!(f, "{field}: must be a path, as in \"/etc/tls/file.pem\", but it is the content of a file")
            }
            Self::Settings(error) => write!(f, "tls: {error}"),
            Self::Alone { there, missing } => write!(f, "tls.{there}: needs tls.{missing}"),
            Self::RootsUnused => {
                f.write_str("tls.roots: never used, since tls.dangerous_no_verification trusts every server")
            }
        }
    }
}

impl std::error::Error for TlsFileError {}

/// Makes functions for `deserialize_with` of paths: `name: field;`.
macro_rules! paths {
    ($($name:ident: $field:expr;)*) => {$(
        fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
            path(deserializer, $field)
        }
    )*};
}

/// Reads the path of a file in PEM.
pub(super) fn path<'de, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<Option<Box<str>>, D::Error> {
    let path: Option<Box<str>> = optional(d, field, "a path, as in \"/etc/tls/file.pem\"")?;
    path.map(|path| as_path(field, path)).transpose().map_err(D::Error::custom)
}

paths! {
    roots: "tls.roots";
    client_certificate: "tls.client_certificate";
    client_key: "tls.client_key";
}

fn server_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    optional(deserializer, "tls.server_name", "a name, as in \"users.internal\"")
}

fn dangerous_no_verification<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let read: Option<bool> = optional(deserializer, "tls.dangerous_no_verification", "true or false")?;
    Ok(read.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        let config: TlsConfig = serde_json::from_str(json).unwrap();
        config.read().unwrap_err().to_string()
    }

    #[test]
    fn c6_what_cannot_be_used_names_its_field() {
        let nowhere = error(r#"{"roots": "/nowhere/root.pem"}"#);
        assert!(nowhere.starts_with("tls.roots \"/nowhere/root.pem\": cannot be read: "), "{nowhere}");
        #[cfg(target_os = "linux")]
        {
            let endless = error(r#"{"roots": "/dev/zero"}"#);
            assert_eq!(endless, "tls.roots \"/dev/zero\": cannot be read: the file is larger than 16 MiB");
        }
        assert_eq!(error(r#"{"client_key": "k"}"#), "tls.client_key: needs tls.client_certificate");
        assert_eq!(error(r#"{"client_certificate": "c"}"#), "tls.client_certificate: needs tls.client_key");
        let unused = error(r#"{"roots": "r", "dangerous_no_verification": true}"#);
        assert_eq!(unused, "tls.roots: never used, since tls.dangerous_no_verification trusts every server");
        let read = |json: &str| serde_json::from_str::<TlsConfig>(json).unwrap_err().to_string();
        assert!(read(r#"{"verify": false}"#).starts_with("unknown field `verify`, expected one of `roots`"));
        let text = "tls.dangerous_no_verification \"true\": must be true or false; write true without quotes";
        assert!(read(r#"{"dangerous_no_verification": "true"}"#).starts_with(text));
    }

    #[test]
    fn c6_a_key_in_place_of_its_path_is_not_shown() {
        const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let text = "tls.client_key: must be a path, as in \"/etc/tls/file.pem\", but it is the content of a file";
        let json = serde_json::json!({"client_certificate": "c", "client_key": KEY}).to_string();
        let read = serde_json::from_str::<TlsConfig>(&json).unwrap_err();
        assert!(read.to_string().starts_with(text), "{read}");
        assert!(!format!("{read:?}").contains("c2VjcmV0"), "{read:?}");
        assert_eq!(file("tls.client_key", KEY).unwrap_err(), TlsFileError::NotAPath { field: "tls.client_key" });
        assert_eq!(file("tls.client_key", KEY).unwrap_err().to_string(), text);
    }

    #[test]
    fn c4_a_file_that_names_no_files_has_the_settings_of_all_channels() {
        let read = |json: &str| serde_json::from_str::<TlsConfig>(json).unwrap().read();
        assert_eq!(read("{}"), Tls::system().map_err(TlsFileError::Settings));
        assert_eq!(read(r#"{"server_name": "users.internal"}"#), read("{}"), "the name is not part of them");
        let own = r#"{"dangerous_no_verification": true}"#;
        assert_ne!(read(own), read(own));
        assert_eq!(error(r#"{"server_name": "a b"}"#), "tls: tls name \"a b\": not a host name and not an ip address");
    }

    #[test]
    fn c6_only_the_long_name_turns_verification_off() {
        assert!(serde_json::from_str::<TlsConfig>(r#"{"dangerous_no_verification": true}"#).unwrap().read().is_ok());
        assert!(!serde_json::from_str::<TlsConfig>("{}").unwrap().dangerous_no_verification);
    }
}

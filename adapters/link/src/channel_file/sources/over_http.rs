//! The options of the sources over HTTP, as a file describes them.

use std::path::Path;

use hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_fleet::Address;
use serde::Deserialize;

use super::fields;
#[cfg(feature = "_tls")]
use super::tls::SourceTlsConfig;

/// What the sources over HTTP have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "_tls"),
    expect(
        clippy::manual_non_exhaustive,
        reason = "the field `tls` is there so that its error names the missing feature"
    )
)]
pub struct HttpSourceConfig {
    /// How long a connection to one endpoint may take. Absent: 2 s.
    #[serde(deserialize_with = "fields::http_connect_timeout")]
    pub connect_timeout: Option<BoundedSpan<1, 3_600_000>>,
    /// How long an answer may take. Absent: 5 s.
    #[serde(deserialize_with = "fields::http_answer_timeout")]
    pub answer_timeout: Option<BoundedSpan<1, 3_600_000>>,
    /// The most bytes of an answer's body, and of one message of a watch. Absent: 16 MiB.
    #[serde(deserialize_with = "fields::http_max_answer")]
    pub max_answer: Option<Bounded<1_024, 1_073_741_824>>,
    /// Whether credentials may be sent over connections that are not encrypted. Then anyone on the way can read and use
    /// them. Absent or false: as the program says, by default no. So a file can allow this, but cannot forbid it.
    #[serde(deserialize_with = "fields::http_clear_text")]
    pub allow_clear_text_credentials: bool,
    /// Encrypts the connections. Absent: as the program says, by default not encrypted. Connections to Kubernetes are
    /// always encrypted, with root certificates of their own.
    #[cfg(feature = "_tls")]
    #[serde(deserialize_with = "fields::http_tls")]
    pub tls: Option<SourceTlsConfig>,
    #[cfg(not(feature = "_tls"))]
    #[serde(deserialize_with = "fields::http_no_tls")]
    tls: (),
}

/// The options of `etcd://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdSourceConfig {
    /// The name of the user. `password_file` must be set too.
    #[serde(deserialize_with = "fields::etcd_user")]
    pub user: Option<Box<str>>,
    /// The file of the user's password. It is read again for each login.
    #[serde(deserialize_with = "fields::etcd_password_file")]
    pub password_file: Option<Box<Path>>,
    /// How long a watch may be silent before it is checked. Absent: 30 s.
    #[serde(deserialize_with = "fields::etcd_check_every")]
    pub check_every: Option<BoundedSpan<50, 3_600_000>>,
}

/// The options of `consul://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsulSourceConfig {
    /// The file of the token. It is read again for each request.
    #[serde(deserialize_with = "fields::consul_token_file")]
    pub token_file: Option<Box<Path>>,
    /// The datacenter. Absent: the agent's own.
    #[serde(deserialize_with = "fields::consul_datacenter")]
    pub datacenter: Option<Box<str>>,
    /// How long consul waits for a change before it answers. Absent: 60 s.
    #[serde(deserialize_with = "fields::consul_wait")]
    pub wait: Option<BoundedSpan<1_000, 600_000>>,
}

/// The options of `kubernetes://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KubernetesSourceConfig {
    /// The API server, as `host:port`. Absent: the one that the environment of a pod names.
    #[serde(deserialize_with = "fields::kubernetes_api_server")]
    pub api_server: Option<Address>,
    /// The name that must be in the certificate of the API server. Absent: its host.
    #[serde(deserialize_with = "fields::kubernetes_tls_name")]
    pub tls_name: Option<Box<str>>,
    /// The file of the token. It is read again for each request. Absent: that of the pod's service account.
    #[serde(deserialize_with = "fields::kubernetes_token_file")]
    pub token_file: Option<Box<Path>>,
    /// The file of the root certificates, in PEM. It is read again for each request. Absent: that of the pod's service
    /// account.
    #[serde(deserialize_with = "fields::kubernetes_root_file")]
    pub root_file: Option<Box<Path>>,
    /// How long one watch runs before another one continues it. Absent: 240 s.
    #[serde(deserialize_with = "fields::kubernetes_watch_for")]
    pub watch_for: Option<BoundedSpan<1_000, 86_400_000>>,
}

/// The options of `remotefile://`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RemoteFileSourceConfig {
    /// The file of the value of the header `authorization`, such as `Bearer TOKEN`. It is read again for each request.
    #[serde(deserialize_with = "fields::remotefile_authorization_file")]
    pub authorization_file: Option<Box<Path>>,
    /// How long to wait before the next request. Absent: 5 s.
    #[serde(deserialize_with = "fields::remotefile_every")]
    pub every: Option<BoundedSpan<100, 3_600_000>>,
}

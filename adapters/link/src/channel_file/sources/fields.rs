//! Reads the fields of [`SourcesConfig`](super::SourcesConfig). An error names the field with its whole path.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use hedge_core::bounded::{Bounded, BoundedSpan, SpanRange};
use hedge_core::config::reading::{FromScalar, Ranged, Scalar, optional, optional_ranged, optional_table};
use hedge_fleet::{Address, PauseRange};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::over_http::{
    ConsulSourceConfig, EtcdSourceConfig, HttpSourceConfig, KubernetesSourceConfig, RemoteFileSourceConfig,
};
use super::{DnsSourceConfig, FileSourceConfig, HostSourceConfig};

/// The port of a name server, if the file does not say it.
const DNS_PORT: u16 = 53;
/// How many name servers a file may name.
const MOST_NAME_SERVERS: usize = 16;

/// Makes functions for `deserialize_with`: `name: kind, field, type;`.
macro_rules! fields {
    ($($name:ident: $kind:ident, $field:expr, $type:ty;)*) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<fields!(@ $kind, $type), D::Error> {
            $kind(deserializer, $field)
        }
    )*};
    (@ table, $type:ty) => { $type };
    (@ switch, $type:ty) => { $type };
    (@ $kind:ident, $type:ty) => { Option<$type> };
}

fields! {
    file: table, "sources.file", FileSourceConfig;
    file_every: ranged, "sources.file.every", BoundedSpan<100, 3_600_000>;
    host: table, "sources.host", HostSourceConfig;
    host_every: ranged, "sources.host.every", BoundedSpan<100, 3_600_000>;
    dns: table, "sources.dns", DnsSourceConfig;
    dns_timeout: ranged, "sources.dns.timeout", BoundedSpan<100, 60_000>;
    http: table, "sources.http", HttpSourceConfig;
    http_connect_timeout: ranged, "sources.http.connect_timeout", BoundedSpan<1, 3_600_000>;
    http_answer_timeout: ranged, "sources.http.answer_timeout", BoundedSpan<1, 3_600_000>;
    http_max_answer: ranged, "sources.http.max_answer", Bounded<1_024, 1_073_741_824>;
    http_clear_text: switch, "sources.http.allow_clear_text_credentials", bool;
    etcd: table, "sources.etcd", EtcdSourceConfig;
    etcd_user: text, "sources.etcd.user", Box<str>;
    etcd_password_file: path, "sources.etcd.password_file", Box<Path>;
    etcd_check_every: ranged, "sources.etcd.check_every", BoundedSpan<50, 3_600_000>;
    consul: table, "sources.consul", ConsulSourceConfig;
    consul_token_file: path, "sources.consul.token_file", Box<Path>;
    consul_datacenter: text, "sources.consul.datacenter", Box<str>;
    consul_wait: ranged, "sources.consul.wait", BoundedSpan<1_000, 600_000>;
    kubernetes: table, "sources.kubernetes", KubernetesSourceConfig;
    kubernetes_tls_name: text, "sources.kubernetes.tls_name", Box<str>;
    kubernetes_token_file: path, "sources.kubernetes.token_file", Box<Path>;
    kubernetes_root_file: path, "sources.kubernetes.root_file", Box<Path>;
    kubernetes_watch_for: ranged, "sources.kubernetes.watch_for", BoundedSpan<1_000, 86_400_000>;
    remotefile: table, "sources.remotefile", RemoteFileSourceConfig;
    remotefile_authorization_file: path, "sources.remotefile.authorization_file", Box<Path>;
    remotefile_every: ranged, "sources.remotefile.every", BoundedSpan<100, 3_600_000>;
    retry_min: ranged, "sources.retry.min", BoundedSpan<1, 3_600_000>;
    retry_max: ranged, "sources.retry.max", BoundedSpan<1, 3_600_000>;
}

#[cfg(feature = "_tls")]
fields! {
    http_tls: optional_table, "sources.http.tls", super::tls::SourceTlsConfig;
    tls_roots: pem, "sources.http.tls.roots", Box<str>;
    tls_client_certificate: pem, "sources.http.tls.client_certificate", Box<str>;
    tls_client_key: pem, "sources.http.tls.client_key", Box<str>;
    tls_server_name: text, "sources.http.tls.server_name", Box<str>;
}

#[cfg(not(feature = "_tls"))]
pub(super) fn http_no_tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Option::<serde::de::IgnoredAny>::deserialize(deserializer)? {
        None => Ok(()),
        Some(_) => Err(D::Error::custom("sources.http.tls: needs the feature `tls` or `tls-aws-lc`")),
    }
}

fn table<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<T, D::Error> {
    optional_table(d, field).map(Option::unwrap_or_default)
}

fn ranged<'de, T: FromScalar + Ranged, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<Option<T>, D::Error> {
    optional_ranged(d, field)
}

fn switch<'de, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<bool, D::Error> {
    optional(d, field, "true or false").map(Option::unwrap_or_default)
}

fn text<'de, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<Option<Box<str>>, D::Error> {
    optional(d, field, "text")
}

/// Reads the path of a file that holds a credential.
fn path<'de, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<Option<Box<Path>>, D::Error> {
    let path: Option<Box<str>> = optional(d, field, "the path of a file, as in \"/run/secrets/file\"")?;
    Ok(path.map(|path| Path::new(&*path).into()))
}

/// Reads the path of a file in PEM.
#[cfg(feature = "_tls")]
fn pem<'de, D: Deserializer<'de>>(d: D, field: &'static str) -> Result<Option<Box<str>>, D::Error> {
    super::super::tls::path(d, field)
}

pub(super) fn retry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PauseRange>, D::Error> {
    let Some(RetryFields { min, max }) = optional_table(deserializer, "sources.retry")? else { return Ok(None) };
    let (min, max) = (min.unwrap_or(BoundedSpan::of_millis::<500>()), max.unwrap_or(BoundedSpan::of_secs::<10>()));
    let range = SpanRange::between(min, max);
    range.map(Some).map_err(|error| D::Error::custom(format_args!("sources.retry.{error}")))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RetryFields {
    #[serde(deserialize_with = "retry_min")]
    min: Option<BoundedSpan<1, 3_600_000>>,
    #[serde(deserialize_with = "retry_max")]
    max: Option<BoundedSpan<1, 3_600_000>>,
}

pub(super) fn kubernetes_api_server<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Address>, D::Error> {
    let server: Option<Endpoint> = optional(d, "sources.kubernetes.api_server", "host:port")?;
    Ok(server.map(|Endpoint(address)| address))
}

pub(super) fn name_servers<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Box<[SocketAddr]>>, D::Error> {
    d.deserialize_option(NameServers)
}

/// Reads a list of name servers.
struct NameServers;

impl<'de> Visitor<'de> for NameServers {
    type Value = Option<Box<[SocketAddr]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sources.dns.name_servers: a list of 1 to {MOST_NAME_SERVERS} addresses, as in [\"10.0.0.53\"]")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut servers = Vec::new();
        while let Some(NameServer(server)) = list.next_element()? {
            if servers.len() == MOST_NAME_SERVERS {
                return Err(A::Error::custom(format_args!(
                    "sources.dns.name_servers: must be at most {MOST_NAME_SERVERS} addresses"
                )));
            }
            servers.push(server);
        }
        if servers.is_empty() {
            return Err(A::Error::custom("sources.dns.name_servers: must be at least one address"));
        }
        Ok(Some(servers.into()))
    }
}

/// The address of a name server, with or without its port.
struct NameServer(SocketAddr);

impl<'de> Deserialize<'de> for NameServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "an IP address with or without a port, as in \"10.0.0.53\" or \"10.0.0.53:5353\"";
        let server: Option<NameServerText> = optional(deserializer, "sources.dns.name_servers", wanted)?;
        let null = || D::Error::custom("sources.dns.name_servers: null is not an address");
        server.map(|NameServerText(server)| Self(server)).ok_or_else(null)
    }
}

/// The text of `host:port`.
struct Endpoint(Address);

/// The text of a name server.
struct NameServerText(SocketAddr);

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse().ok().filter(|address| !matches!(address, Address::Unix(_)));
        address.map(Self).ok_or("not host:port")
    }
}

impl FromStr for NameServerText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = |ip: IpAddr| SocketAddr::new(ip, DNS_PORT);
        text.parse().or_else(|_| text.parse().map(with_port)).map(Self).map_err(|_| "not an IP address")
    }
}

/// Makes types that are read from a text by their [`FromStr`].
macro_rules! texts {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Box::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl FromScalar for $name {
            type Binary = Self;

            fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
                if let Scalar::Text(text) = scalar { text.parse().ok() } else { None }
            }
        }
    )*};
}

texts! { Endpoint NameServerText }

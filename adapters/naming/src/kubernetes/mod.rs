//! Servers from Kubernetes: [`Kubernetes`].

mod api;
mod session;
mod slices;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hedge_core::time::Duration;
use hedge_fleet::{Address, BoxNaming, NamingError, NamingErrorKind};
use hedge_link::{Credential, Runtime, TlsName};
#[cfg(feature = "serde")]
use hedge_link::{KubernetesSourceConfig, SourcesConfigError};

use crate::client::{HttpOptions, Place};
use crate::common::{Common, common_setters, invalid};
use crate::given::Given;
use session::KubernetesSession;
use slices::Port;

/// Where a pod finds its token and the certificate of the API server.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The scheme `kubernetes`: the ready endpoints of a service, from its EndpointSlices.
///
/// The URL is `kubernetes://namespace/service:port`. The port is the name of a port of the service, or a number. A number
/// is the port on which the pods listen, which is the `targetPort` of the service. The servers are the endpoints whose
/// condition `ready` is true or missing. The zone of an endpoint is its tag, such as `zone=eu-1a`.
///
/// The slices are listed, page by page, and then a watch follows their changes. If Kubernetes has forgotten the version
/// that the watch needs (410), the slices are listed anew.
///
/// In a pod, nothing has to be set: the API server is known from `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`,
/// and the token and the root certificate from the files of the service account. The files are read anew for each request,
/// since they change while the pod runs. The service account needs the verbs `list` and `watch` for `endpointslices` in
/// the API group `discovery.k8s.io`.
///
/// The token is sent only over TLS, and only to a server whose certificate is signed by the root. No option changes
/// that.
///
/// ```
/// # fn open<R: hedge_link::Runtime>(runtime: R) -> Result<(), Box<dyn std::error::Error>> {
/// use hedge_fleet::Schemes;
/// use hedge_naming::Kubernetes;
///
/// let kubernetes = Kubernetes::new(runtime);
/// let schemes = Schemes::new().with("kubernetes", move |rest| kubernetes.open(rest))?;
/// # let _ = schemes;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Kubernetes<R> {
    pub(crate) common: Common<R>,
    api_server: Option<Address>,
    tls_name: Option<TlsName>,
    token: Given<Credential>,
    roots: Given<Arc<[u8]>>,
    watch_for: Duration,
}

/// What a URL and the options say.
#[derive(Debug)]
struct Settings {
    /// The path of the slices, and the query that selects those of the service.
    path: String,
    port: Port,
    tls_name: Option<TlsName>,
    token: Given<Credential>,
    roots: Given<Arc<[u8]>>,
    watch_for: Duration,
}

impl<R: Runtime> Kubernetes<R> {
    /// The defaults, which are those of a pod.
    pub fn new(runtime: R) -> Self {
        let file = |name: &str| Arc::from(Path::new(ACCOUNT).join(name));
        Self {
            common: Common::new(runtime),
            api_server: None,
            tls_name: None,
            token: Given::File(file("token")),
            roots: Given::File(file("ca.crt")),
            watch_for: Duration::from_secs(240),
        }
    }

    common_setters!(
        "Times and limits. The TLS settings in these options are not used: this source makes its own from the root
certificates.",
        "times"
    );

    /// The API server, instead of the one that the environment names.
    #[must_use]
    pub fn api_server(mut self, address: Address) -> Self {
        self.api_server = Some(address);
        self
    }

    /// The name that must be in the certificate of the API server, instead of its host.
    #[must_use]
    pub fn tls_name(mut self, name: TlsName) -> Self {
        self.tls_name = Some(name);
        self
    }

    /// The token, instead of the one in the file of the service account.
    #[must_use]
    pub fn token(mut self, token: Credential) -> Self {
        self.token = Given::Value(token);
        self
    }

    /// The file of the token. It is read anew for each request.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Given::File(path.into().into());
        self
    }

    /// The root certificates in PEM, instead of those in the file of the service account.
    #[must_use]
    pub fn root_pem(mut self, pem: impl Into<Arc<[u8]>>) -> Self {
        self.roots = Given::Value(pem.into());
        self
    }

    /// The file of the root certificates, in PEM. It is read anew for each request.
    #[must_use]
    pub fn root_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Given::File(path.into().into());
        self
    }

    /// How long one watch runs before another one continues it. The default is 240 s, and each watch runs up to a
    /// quarter longer. If the server has not ended the watch by then, the source gives it up after a further
    /// [`HttpOptions::answer_timeout`], which is an error.
    #[must_use]
    pub const fn watch_for(mut self, time: Duration) -> Self {
        self.watch_for = time;
        self
    }

    /// Applies the options of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn apply(&mut self, config: &KubernetesSourceConfig) -> Result<(), SourcesConfigError> {
        if let Some(name) = &config.tls_name {
            let field = "sources.kubernetes.tls_name";
            self.tls_name = Some(TlsName::new(name).map_err(|error| SourcesConfigError::Name { field, error })?);
        }
        if let Some(address) = &config.api_server {
            self.api_server = Some(address.clone());
        }
        if let Some(file) = &config.token_file {
            self.token = Given::File(file.as_ref().into());
        }
        if let Some(file) = &config.root_file {
            self.roots = Given::File(file.as_ref().into());
        }
        if let Some(time) = config.watch_for {
            self.watch_for = time.get();
        }
        Ok(())
    }

    /// Opens a source. `rest` is the URL behind `kubernetes://`. This reads the environment, and does no I/O.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if the URL is not valid, if it is not known where the API server is, or if a time of
    /// the [`HttpOptions`] is 0.
    pub fn open(&self, rest: &str) -> Result<BoxNaming, NamingError> {
        let invalid = invalid("kubernetes");
        self.common.http.check().map_err(&invalid)?;
        let (path, port) = parse(rest).map_err(&invalid)?;
        let name: Arc<str> = format!("kubernetes://{rest}").into();
        let api_server = match &self.api_server {
            Some(address) => address.clone(),
            None => from_environment(|name| std::env::var(name).ok())
                .map_err(|why| NamingError::new(Arc::clone(&name), NamingErrorKind::Invalid).because(why))?,
        };
        let settings = Arc::new(Settings {
            path,
            port,
            tls_name: self.tls_name.clone(),
            token: self.token.clone(),
            roots: self.roots.clone(),
            watch_for: self.watch_for,
        });
        let session = move |client, pace| KubernetesSession::new(client, pace, Arc::clone(&settings));
        Ok(self.common.open(name, [Place::new(api_server)].into(), session))
    }
}

impl<R> fmt::Debug for Kubernetes<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Kubernetes");
        fields.field("http", &self.common.http).field("api_server", &self.api_server).field("token", &self.token);
        fields
            .field("root_file", &self.roots.path())
            .field("tls_name", &self.tls_name)
            .field("watch_for", &self.watch_for);
        fields.finish_non_exhaustive()
    }
}

/// Parses `namespace/service:port` into the path of the slices, and the port.
fn parse(rest: &str) -> Result<(String, Port), String> {
    const FORM: &str = "write kubernetes://namespace/service:port";

    // Names of Kubernetes, so they need no encoding in a URL.
    let is_name = |text: &str| {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !text.is_empty() && text.len() <= 63 && text.bytes().all(valid)
    };
    let (namespace, service) = rest.split_once('/').ok_or_else(|| format!("has no service; {FORM}"))?;
    let (service, port) = service.split_once(':').ok_or_else(|| format!("has no port; {FORM}"))?;
    for (what, text) in [("namespace", namespace), ("service", service), ("port", port)] {
        if !is_name(text) {
            return Err(format!("{what}: must be lowercase letters, digits and '-', at most 63; {FORM}"));
        }
    }
    let port = Port::parse(port).ok_or_else(|| format!("port: must be in [1, 65535] or a name; {FORM}"))?;
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
    );
    Ok((path, port))
}

/// The API server that the environment of a pod names.
fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Address, String> {
    let host = variable("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
    let host = host.ok_or("KUBERNETES_SERVICE_HOST is not set, so this is no pod; set api_server")?;
    let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
    let text = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    text.parse().map_err(|error| format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_a_url_names_a_namespace_a_service_and_a_port() {
        let (path, port) = parse("prod/users:http").unwrap();
        assert!(path.starts_with("/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices?"), "{path}");
        assert!(path.ends_with("=kubernetes.io%2Fservice-name%3Dusers"), "{path}");
        assert_eq!(port, Port::Name("http".into()));
        assert_eq!(parse("prod/users:8080").unwrap().1, Port::Number(8080));
        for bad in [
            "",
            "prod",
            "prod/users",
            "prod/users:",
            "/users:1",
            "prod/:1",
            "prod/users:0",
            "prod/users:65536",
            "prod/../x:1",
            "prod/users:1?x=y",
            "prod/users&limit=1:1",
            "Prod/users:1",
            "a@prod/users:1",
        ] {
            assert!(parse(bad).unwrap_err().contains("kubernetes://namespace/service:port"), "{bad}");
        }
    }

    #[test]
    fn n1_a_pod_knows_its_api_server() {
        let server = |host: Option<&str>, port: Option<&str>| {
            from_environment(|name| if name.ends_with("HOST") { host } else { port }.map(str::to_owned))
        };
        assert_eq!(server(Some("10.0.0.1"), Some("6443")).unwrap().to_string(), "10.0.0.1:6443");
        assert_eq!(server(Some("fd00::1"), None).unwrap().to_string(), "[fd00::1]:443");
        assert_eq!(server(Some("api"), None).unwrap().to_string(), "api:443");
        assert!(server(None, None).unwrap_err().contains("set api_server"));
        assert!(server(Some("x y"), None).is_err());
    }
}

//! What a source asks: [`Ask`].

use bytes::Bytes;
use hedge_link::Credential;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, Request};

use super::endpoints::Place;
use super::fault::Fault;
use super::live::Payload;

/// A request of a source. It can be sent several times. `Debug` is not implemented, since a body may be a password.
pub(crate) struct Ask {
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    credential: Option<(HeaderName, Credential)>,
    /// Posted as JSON. `None`: a GET.
    body: Option<Bytes>,
    /// A secret in the body, which no error may show.
    secret: Option<Credential>,
}

impl Ask {
    pub(crate) const fn get(path: String) -> Self {
        Self { path, headers: Vec::new(), credential: None, body: None, secret: None }
    }

    pub(crate) fn post(path: &str, body: &serde_json::Value) -> Self {
        Self { body: Some(body.to_string().into()), ..Self::get(path.into()) }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A header that proves who the client is.
    pub(crate) fn credential(mut self, name: HeaderName, credential: Option<Credential>) -> Self {
        self.credential = credential.map(|credential| (name, credential));
        self
    }

    /// The body contains this secret.
    pub(crate) fn secret(mut self, secret: Credential) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Whether the request contains a secret.
    pub(super) const fn is_confidential(&self) -> bool {
        self.credential.is_some() || self.secret.is_some()
    }

    pub(super) fn request(&self, place: &Place) -> Result<Request<Payload>, Fault> {
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(&self.path).header(HOST, &*place.text);
        request = request.header(ACCEPT, "*/*").header(USER_AGENT, concat!("hedge/", env!("CARGO_PKG_VERSION")));
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some((name, credential)) = &self.credential {
            let value = HeaderValue::from_str(credential.as_str());
            // The value is not in the error.
            let mut value = value.map_err(|_| Fault::Content("a credential cannot be sent in a header".into()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let body = Payload::new(self.body.clone().unwrap_or_default());
        request.body(body).map_err(|_| Fault::Content("the name cannot be sent in a url".into()))
    }

    /// What no error may show.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Credential> {
        self.credential.iter().map(|(_, secret)| secret).chain(&self.secret)
    }
}

//! What a request sends: [`RequestBody`], and the head of one attempt.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::HOST;
use ::http::{HeaderMap, Method, Request, Uri};
use bytes::Bytes;
use hedge_core::policy::Idempotency;

use super::default_headers::DefaultHeaders;
use super::error::{BadRequest, HttpError};
use super::headers;
use super::outgoing::{BoxBody, BoxError, SendBody};
use super::place::Place;

/// The body of a request, which may be sent several times ([T3](hedge_core::rules#T3)).
///
/// ```
/// use hedge_http_transport::RequestBody;
///
/// let request = http::Request::put("/item/1").body(RequestBody::from("text"))?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Default)]
pub enum RequestBody {
    /// No body.
    #[default]
    Empty,
    /// Bytes, which all attempts share.
    Bytes(Bytes),
    /// A body that is made anew for each attempt.
    Factory(Arc<dyn Fn() -> BoxBody + Send + Sync>),
    /// A body that can be sent only once: see [`RequestBody::once`].
    Once(OnceBody),
}

impl RequestBody {
    /// A body that is made anew for each attempt.
    pub fn factory<B>(make: impl Fn() -> B + Send + Sync + 'static) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::Factory(Arc::new(move || Box::pin(make())))
    }

    /// A body that can be sent only once. Its call is not idempotent, with any method: no backup is sent, and it is
    /// retried only if the body has not left ([T3](hedge_core::rules#T3)).
    pub fn once<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::Once(OnceBody(Arc::new(Mutex::new(Some(Box::pin(body))))))
    }

    /// Opens the body for one attempt, and sets the headers of `head` that say its length.
    pub(super) fn open(&self, head: &mut Request<()>) -> Result<SendBody, HttpError> {
        let mut body = match self {
            Self::Empty => SendBody::EMPTY,
            Self::Bytes(bytes) => SendBody::bytes(bytes.clone()),
            Self::Factory(make) => SendBody::made(|| make())?,
            Self::Once(body) => {
                let body = body.lock().take().ok_or(HttpError::BodyUsed)?;
                SendBody::made(|| body)?
            }
        };
        if let Err(error) = headers::frame(head.headers_mut(), &mut body) {
            self.put_back(body);
            return Err(error);
        }
        Ok(body)
    }

    /// Takes back a body that was not sent.
    pub(super) fn put_back(&self, unsent: SendBody) {
        if let (Self::Once(body), Some(unsent)) = (self, unsent.into_unsent()) {
            *body.lock() = Some(unsent);
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Factory(_) => f.write_str("Factory"),
            Self::Once(_) => f.write_str("Once"),
        }
    }
}

impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::Empty
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A body that can be sent once.
#[derive(Clone)]
pub struct OnceBody(Arc<Mutex<Option<BoxBody>>>);

impl OnceBody {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BoxBody>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OnceBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceBody")
    }
}

/// Whether a request may be sent twice. The method decides, but a body that can be sent only once excludes it.
pub(super) fn idempotency(request: &Request<RequestBody>) -> Idempotency {
    match request.body() {
        RequestBody::Once(_) => Idempotency::NotIdempotent,
        _ => hedge_http::idempotency(request.method()),
    }
}

/// How many headers a head has room for at least. The map of one more would be twice as large.
const USUAL_HEADERS: usize = 6;

/// One attempt's request, without its body.
pub(super) fn head(
    request: &Request<RequestBody>,
    server: &Place,
    defaults: &DefaultHeaders,
) -> Result<Request<()>, HttpError> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err(BadRequest::Connect.into());
    }
    if uri.scheme().is_some_and(|scheme| !server.takes(scheme)) {
        return Err(BadRequest::Scheme.into());
    }
    headers::check(request.headers())?;
    let target = server.target(uri)?;
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = Uri::from(target);
    // With room for `Host` and the defaults: a clone would have to grow at once. hyper uses the map again for the answer.
    let room = request.headers().len().saturating_add(defaults.len()).saturating_add(1).max(USUAL_HEADERS);
    let headers = head.headers_mut();
    *headers = HeaderMap::try_with_capacity(room).unwrap_or_default();
    for (name, value) in request.headers() {
        headers.try_append(name, value.clone()).map_err(|_| BadRequest::TooManyHeaders)?;
    }
    if !headers.keys().any(|name| *name == HOST) {
        let host = match (uri.authority(), defaults.get(&HOST)) {
            // The part before an `@` is not sent: user and password do not belong into `Host`.
            (Some(authority), _) => authority.as_str().rsplit('@').next().unwrap_or_default().parse(),
            (None, Some(host)) => Ok(host.clone()),
            (None, None) => Ok(server.host.clone()),
        };
        let host = host.map_err(|_| BadRequest::Host)?;
        headers.try_insert(HOST, host).map_err(|_| BadRequest::TooManyHeaders)?;
    }
    defaults.add_to(headers)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(request: &Request<RequestBody>) -> Result<Request<()>, HttpError> {
        head(request, &Place::of(&"10.0.0.1:80".parse().unwrap(), false, None).unwrap(), &DefaultHeaders::default())
    }

    #[test]
    fn t3_a_head_is_in_origin_form_with_the_right_host() {
        for (uri, own, target, host) in [
            ("/a?b=c", None, "/a?b=c", "10.0.0.1:80"),
            ("http://user:pass@example.com:8080/a", None, "/a", "example.com:8080"),
            ("http://example.com", None, "/", "example.com"),
            ("http://example.com#part", None, "/", "example.com"),
            ("http://example.com?q=1#part", None, "/?q=1", "example.com"),
            ("http://example.com/?", None, "/?", "example.com"),
            ("/a#part", None, "/a", "10.0.0.1:80"),
            ("http://example.com/x", Some("own"), "/x", "own"),
            ("*", None, "*", "10.0.0.1:80"),
        ] {
            let mut request = Request::get(uri).header("x-a", "1");
            if let Some(own) = own {
                request = request.header("host", own);
            }
            let head = head_of(&request.body(().into()).unwrap()).unwrap();
            assert_eq!(head.uri().to_string(), target, "{uri}");
            assert_eq!(head.headers()["host"], host, "{uri}");
            assert_eq!(head.headers()["x-a"], "1");
        }
    }

    #[test]
    fn a_default_host_comes_after_those_of_the_request() {
        let mut defaults = DefaultHeaders::default();
        defaults.add("host", "default").unwrap();
        let place = Place::of(&"10.0.0.1:80".parse().unwrap(), false, None).unwrap();
        for (uri, own, host) in
            [("/a", None, "default"), ("http://example.com/a", None, "example.com"), ("/a", Some("own"), "own")]
        {
            let request = own.into_iter().fold(Request::get(uri), |request, own| request.header("host", own));
            let head = head(&request.body(().into()).unwrap(), &place, &defaults).unwrap();
            assert_eq!(head.headers().get_all("host").iter().collect::<Vec<_>>(), [host], "{uri}");
        }
    }

    #[test]
    fn what_this_transport_cannot_send_is_a_bad_request() {
        for (method, uri, expected) in [
            ("CONNECT", "example.com:80", BadRequest::Connect),
            ("GET", "example.com:80", BadRequest::NoPath),
            ("GET", "https://example.com/", BadRequest::Scheme),
        ] {
            let request = Request::builder().method(method).uri(uri).body(().into()).unwrap();
            assert!(matches!(head_of(&request), Err(HttpError::BadRequest(reason)) if reason == expected), "{uri}");
        }
        let tls = Place::of(&"10.0.0.1:443".parse().unwrap(), true, None).unwrap();
        let head = |uri| head(&Request::get(uri).body(().into()).unwrap(), &tls, &DefaultHeaders::default());
        assert!(head("https://example.com/").is_ok(), "C6: over tls");
        assert!(matches!(head("http://example.com/"), Err(HttpError::BadRequest(BadRequest::Scheme))));
    }

    #[test]
    fn l15_idempotency_goes_by_the_method_and_the_body() {
        for (method, expected) in [(Method::PUT, true), (Method::POST, false)] {
            let of = |body| idempotency(&Request::builder().method(&method).uri("/").body(body).unwrap());
            assert_eq!(of("x".into()) == Idempotency::Idempotent, expected, "{method}");
            assert_eq!(of(RequestBody::once(SendBody::EMPTY)), Idempotency::NotIdempotent, "{method}");
        }
    }

    #[test]
    fn t3_a_body_that_can_be_sent_once_is_gone_until_it_is_put_back() {
        let body = RequestBody::once(SendBody::EMPTY);
        let open = || body.open(&mut Request::new(()));
        let opened = open().unwrap();
        assert!(matches!(open(), Err(HttpError::BodyUsed)));
        body.put_back(opened);
        assert!(open().is_ok());
    }
}

//! The headers of tied requests and of the messages between servers.

use std::net::{IpAddr, SocketAddr};

use hedge_core::id::IdempotencyKey;
use hedge_http::along::{ATTEMPT_KIND, FIRST_SERVER, IDEMPOTENCY_KEY, key_text, parse_key};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, Method, Request, Uri};

/// What a message says.
const MESSAGE: HeaderName = HeaderName::from_static("x-hedge-tied");
/// The address of the server that sends a message.
const FROM: HeaderName = HeaderName::from_static("x-hedge-tied-from");
const SECRET: HeaderName = HeaderName::from_static("x-hedge-tied-secret");

/// The IP address from which a request came. The program puts it into the extensions of each request, from the accepted
/// connection. Without it, a message of another server is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteIp(pub IpAddr);

/// Who the peers are, and how messages are written and read.
#[derive(Debug)]
pub(super) struct Peers {
    own: SocketAddr,
    /// Sorted.
    peers: Vec<SocketAddr>,
    path: PathAndQuery,
    secret: Option<HeaderValue>,
}

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// A backup waits. Has the first attempt begun?
    Ask,
    /// A copy has begun.
    Begun,
}

/// A message from a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) from: SocketAddr,
    pub(super) key: IdempotencyKey,
    pub(super) word: Word,
}

/// The reason why a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It does not come from a peer, or lacks the secret.
    NotAPeer,
    /// It has no key or no known word.
    Malformed,
}

impl Peers {
    pub(super) fn new(
        own: SocketAddr,
        peers: impl IntoIterator<Item = SocketAddr>,
        path: PathAndQuery,
        secret: Option<HeaderValue>,
    ) -> Self {
        let own = canonical(own);
        let mut peers: Vec<SocketAddr> = peers.into_iter().map(canonical).filter(|peer| *peer != own).collect();
        peers.sort_unstable();
        peers.dedup();
        Self { own, peers, path, secret }
    }

    /// The key of a request, and the peer that has the first attempt of a backup.
    /// A retry is not tied: it follows a copy that has failed, and no answer of another copy can replace it.
    pub(super) fn tie_of(&self, headers: &HeaderMap) -> (Option<IdempotencyKey>, Option<SocketAddr>) {
        if headers.get(&ATTEMPT_KIND).is_some_and(|kind| kind == "retry") {
            return (None, None);
        }
        (key_of(headers), address_in(headers, &FIRST_SERVER).filter(|first| self.is_peer(*first)))
    }

    /// Whether a request is a message for the layer, from a peer or not.
    pub(super) fn is_message<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::POST && request.uri().path() == self.path.path()
    }

    /// Writes a message.
    pub(super) fn write(&self, key: IdempotencyKey, word: Word) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.path.clone());
        let headers = request.headers_mut();
        let word = match word {
            Word::Ask => HeaderValue::from_static("ask"),
            Word::Begun => HeaderValue::from_static("begun"),
        };
        headers.insert(MESSAGE, word);
        let from = self.own.to_string();
        for (name, text) in [(IDEMPOTENCY_KEY, &key_text(key)[..]), (FROM, from.as_bytes())] {
            // Digits, letters and the signs of an address are always a header's value.
            if let Ok(mut value) = HeaderValue::from_bytes(text) {
                // No log of the program shows the key (W3).
                value.set_sensitive(name == IDEMPOTENCY_KEY);
                headers.insert(name, value);
            }
        }
        if let Some(secret) = &self.secret {
            headers.insert(SECRET, secret.clone());
        }
        request
    }

    /// Reads a message and checks where it comes from.
    ///
    /// # Errors
    /// The message must not be obeyed.
    pub(super) fn read(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Message, Refusal> {
        let remote = extensions.get::<RemoteIp>().map(|remote| remote.0.to_canonical());
        let from = address_in(headers, &FROM).filter(|from| self.is_peer(*from) && Some(from.ip()) == remote);
        let from = from.filter(|_| self.has_secret(headers)).ok_or(Refusal::NotAPeer)?;
        let word = match headers.get(&MESSAGE).map(HeaderValue::as_bytes) {
            Some(b"ask") => Word::Ask,
            Some(b"begun") => Word::Begun,
            _ => return Err(Refusal::Malformed),
        };
        let key = key_of(headers).ok_or(Refusal::Malformed)?;
        Ok(Message { from, key, word })
    }

    fn is_peer(&self, address: SocketAddr) -> bool {
        self.peers.binary_search(&address).is_ok()
    }

    /// Compares in a time that does not depend on where the texts differ.
    fn has_secret(&self, headers: &HeaderMap) -> bool {
        let Some(secret) = &self.secret else { return true };
        headers.get(&SECRET).is_some_and(|given| {
            let (given, secret) = (given.as_bytes(), secret.as_bytes());
            let differ = given.iter().zip(secret).fold(0, |differ, (a, b)| differ | (a ^ b));
            given.len() == secret.len() && differ == 0
        })
    }
}

/// The key in the headers. A key of another form makes no tie.
fn key_of(headers: &HeaderMap) -> Option<IdempotencyKey> {
    parse_key(headers.get(&IDEMPOTENCY_KEY)?.as_bytes())
}

fn address_in(headers: &HeaderMap, name: &HeaderName) -> Option<SocketAddr> {
    headers.get(name)?.to_str().ok()?.parse().ok().map(canonical)
}

/// An IPv4 address that is written as an IPv6 address is the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn key(n: u8) -> IdempotencyKey {
        let mut bytes = [0; 16];
        bytes[15] = n;
        IdempotencyKey::from_bytes(bytes)
    }

    fn peers(own: &str, secret: Option<&'static str>) -> Peers {
        let list = ["10.0.0.1:80", "[::ffff:10.0.0.2]:80", "10.0.0.2:81"].map(address);
        Peers::new(address(own), list, PathAndQuery::from_static("/tied"), secret.map(HeaderValue::from_static))
    }

    fn read(to: &Peers, message: &Request<()>, remote: Option<&str>) -> Result<Message, Refusal> {
        let mut extensions = Extensions::new();
        if let Some(ip) = remote {
            extensions.insert(RemoteIp(ip.parse().unwrap()));
        }
        assert!(to.is_message(message));
        to.read(message.headers(), &extensions)
    }

    #[test]
    fn y1_a_message_of_a_peer_is_read_as_it_was_written() {
        let (from, to) = (peers("10.0.0.2:80", Some("s")), peers("10.0.0.1:80", Some("s")));
        for word in [Word::Ask, Word::Begun] {
            let expected = Message { from: address("10.0.0.2:80"), key: key(15), word };
            let message = from.write(key(15), word);
            assert_eq!(read(&to, &message, Some("10.0.0.2")), Ok(expected));
            assert_eq!(read(&to, &message, Some("::ffff:10.0.0.2")), Ok(expected));
        }
    }

    #[test]
    fn y1_a_message_from_elsewhere_is_refused() {
        let to = peers("10.0.0.1:80", Some("s"));
        let good = peers("10.0.0.2:80", Some("s"));
        for (from, remote) in [
            (&good, Some("10.0.0.3")),
            (&good, None),
            (&peers("10.0.0.2:82", Some("s")), Some("10.0.0.2")),
            (&peers("10.0.0.1:80", Some("s")), Some("10.0.0.1")),
            (&peers("10.0.0.2:80", Some("t")), Some("10.0.0.2")),
            (&peers("10.0.0.2:80", Some("ss")), Some("10.0.0.2")),
            (&peers("10.0.0.2:80", None), Some("10.0.0.2")),
        ] {
            let message = from.write(key(1), Word::Begun);
            assert_eq!(read(&to, &message, remote), Err(Refusal::NotAPeer), "{message:?} from {remote:?}");
        }
    }

    #[test]
    fn y1_a_message_without_a_key_or_a_known_word_is_refused() {
        let (from, to) = (peers("10.0.0.2:80", None), peers("10.0.0.1:80", None));
        for (name, value) in [(IDEMPOTENCY_KEY, "1"), (MESSAGE, "drop")] {
            let mut message = from.write(key(1), Word::Ask);
            message.headers_mut().insert(name, HeaderValue::from_static(value));
            assert_eq!(read(&to, &message, Some("10.0.0.2")), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn y1_only_a_key_of_32_lower_case_digits_and_a_peer_make_a_tie() {
        let own = peers("10.0.0.1:80", None);
        let tie = |text: &'static str, first: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static(text));
            headers.insert(FIRST_SERVER, HeaderValue::from_static(first));
            own.tie_of(&headers)
        };
        let good = "000000000000000000000000000000ff";
        let peer = address("10.0.0.2:80");
        assert_eq!(tie(good, "10.0.0.2:80"), (Some(key(255)), Some(peer)));
        assert_eq!(tie(good, "[::ffff:10.0.0.2]:80"), (Some(key(255)), Some(peer)));
        for first in ["10.0.0.1:80", "10.0.0.9:80", "10.0.0.2", "localhost:80", ""] {
            assert_eq!(tie(good, first), (Some(key(255)), None), "{first}");
        }
        for other in ["000000000000000000000000000000FF", "+00000000000000000000000000000ff", "ff", "\"a\""] {
            assert_eq!(tie(other, "10.0.0.2:80").0, None, "{other}");
        }
    }

    #[test]
    fn y1_a_retry_is_not_tied() {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("000000000000000000000000000000ff"));
        for (kind, expected) in [("first", Some(key(255))), ("backup", Some(key(255))), ("retry", None)] {
            headers.insert(ATTEMPT_KIND, HeaderValue::from_static(kind));
            assert_eq!(peers("10.0.0.1:80", None).tie_of(&headers), (expected, None), "{kind}");
        }
    }
}

//! HTTP requests: [`Request`].

use core::net::{IpAddr, SocketAddr};

use hedge_core::policy::Idempotency;
use hedge_wire::http1::{self, EncodeError};

/// An HTTP/1.1 request. A call borrows it, and each of its attempts sends it.
///
/// ```
/// use hedge_embassy::Request;
///
/// let request = Request { headers: &[("accept", b"text/plain")], ..Request::get("/temperature") };
/// assert_eq!(request.method, "GET");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<'a> {
    /// The method: a token, `GET` for example. `CONNECT` is an error.
    pub method: &'a str,
    /// The path with its query, in visible ASCII.
    pub target: &'a str,
    /// The `host` header. With `None` it is the address of the server that the request is sent to.
    pub host: Option<&'a str>,
    /// Further headers. This crate writes `host`, `content-length`, `transfer-encoding` and `connection` itself, so
    /// these are errors here.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body. It is sent without a copy, so it needs no room in a buffer.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A `GET` request without further headers.
    #[must_use]
    pub const fn get(target: &'a str) -> Self {
        Self { method: "GET", target, host: None, headers: &[], body: &[] }
    }

    /// A `POST` request with a body. It is not sent twice, unless the options of the call allow that
    /// ([L15](hedge_core::rules#L15)).
    #[must_use]
    pub const fn post(target: &'a str, body: &'a [u8]) -> Self {
        Self { method: "POST", body, ..Self::get(target) }
    }

    /// Whether the request may be sent twice. The method says so (RFC 9110, 9.2.2).
    pub(crate) fn idempotency(&self) -> Idempotency {
        // `contains` instead of `match`: a loop with one comparison is less code than six comparisons.
        if ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&self.method) {
            Idempotency::Idempotent
        } else {
            Idempotency::NotIdempotent
        }
    }

    /// Writes the head of the request for the server at `address`, and returns its length. It asks the server to close
    /// the connection after the response.
    pub(crate) fn write_head(&self, address: SocketAddr, out: &mut [u8]) -> Result<usize, EncodeError> {
        let Self { method, target, host, headers, body } = *self;
        let authority = host.is_none().then(|| Authority::of(address));
        let host = host.or(authority.as_ref().map(Authority::as_str)).unwrap_or_default();
        http1::Request { method, target, host, headers, body, keep_alive: false }.encode_head(out)
    }
}

/// The length of the longest address: eight groups of four digits, seven colons, brackets, a colon and a port.
const LONGEST: usize = 47;

/// A server's address as text, for the `host` header. The text is made without `core::fmt`, which takes more code than
/// the rest of a request. So the zeros of an IPv6 address are not shortened.
struct Authority(heapless::String<LONGEST>);

impl Authority {
    fn of(address: SocketAddr) -> Self {
        let mut text = Self(heapless::String::new());
        match address.ip() {
            IpAddr::V4(ip) => {
                for (octet, separator) in ip.octets().into_iter().zip([".", ".", ".", ":"]) {
                    text.number(octet.into(), 10);
                    text.put(separator);
                }
            }
            IpAddr::V6(ip) => {
                let mut separator = "[";
                for group in ip.segments() {
                    text.put(separator);
                    text.number(group, 16);
                    separator = ":";
                }
                text.put("]:");
            }
        }
        text.number(address.port(), 10);
        text
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    // This takes slices, since pushing a `char` would bring code that encodes it in one to four bytes.
    fn put(&mut self, text: &str) {
        // There is always room: see LONGEST.
        let _ = self.0.push_str(text);
    }

    fn number(&mut self, number: u16, base: u16) {
        // At most five digits, so the recursion is at most five calls deep.
        if number >= base {
            self.number(number / base, base);
        }
        let digit = usize::from(number % base);
        self.put("0123456789abcdef".get(digit..=digit).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_host_is_written_like_its_address() {
        for address in ["0.0.0.0:0", "10.0.2.2:80", "255.255.255.255:65535", "192.168.100.9:8080"] {
            assert_eq!(Authority::of(address.parse().unwrap()).as_str(), address);
        }
        let longest = "[2001:db8:1111:2222:3333:4444:5555:ffff]:65535";
        assert_eq!(Authority::of(longest.parse().unwrap()).as_str(), longest);
        assert_eq!(Authority::of("[fe80::1]:80".parse().unwrap()).as_str(), "[fe80:0:0:0:0:0:0:1]:80");
    }

    #[test]
    fn l15_idempotency_goes_by_the_method() {
        assert_eq!(Request::get("/").idempotency(), Idempotency::Idempotent);
        assert_eq!(Request::post("/", b"").idempotency(), Idempotency::NotIdempotent);
        assert_eq!(Request { method: "DELETE", ..Request::get("/") }.idempotency(), Idempotency::Idempotent);
    }
}

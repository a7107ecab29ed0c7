//! What a browser or a program asks for: [`Request`].

/// How many bytes of a path with its query are used ([O3](hedge_core::rules#O3)).
const MOST: usize = 4_096;

/// A request for a page: the path with its query, and whether HTML is wanted.
///
/// Browsers ask for HTML with their header `Accept`. `curl` does not, so it gets text, as from brpc.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    target: &'a str,
    html: bool,
}

impl<'a> Request<'a> {
    /// Makes a request for a path with its query, such as `/vars/search_*?format=json`. It asks for text. The target is
    /// cut after 4,096 bytes.
    #[must_use]
    pub fn new(target: &'a str) -> Self {
        let end = (0..=MOST.min(target.len())).rev().find(|end| target.is_char_boundary(*end)).unwrap_or(0);
        Self { target: target.get(..end).unwrap_or_default(), html: false }
    }

    /// Returns the request with the header `Accept` that came with it. If the header names `text/html`, pages are HTML.
    #[must_use]
    pub fn accept(self, accept: &str) -> Self {
        Self { html: accept.contains("text/html"), ..self }
    }

    pub(crate) fn parse(self) -> Parsed {
        let target = self.target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        };
        let query: Vec<_> = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
        let mut parsed = Parsed { path, query, format: if self.html { Format::Html } else { Format::Text } };
        parsed.format = match parsed.get("format") {
            Some("json") => Format::Json,
            Some("html") => Format::Html,
            Some("text") => Format::Text,
            _ => parsed.format,
        };
        parsed
    }
}

impl<'a> From<&'a str> for Request<'a> {
    fn from(target: &'a str) -> Self {
        Self::new(target)
    }
}

/// The form of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Html,
    Text,
    Json,
}

/// A request in its parts, with percent-encoding decoded.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) format: Format,
}

impl Parsed {
    /// Returns the first value of a key. Returns `None` if there is none, or if it is empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(own, value)| own == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(own, value)| own == key && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Returns the number of the page, from 1.
    pub(crate) fn page(&self) -> usize {
        self.get("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1)
    }
}

/// Decodes percent-encoding. In a query, `+` is a blank. Bytes that are not UTF-8 become U+FFFD.
fn decode(text: &str, is_query: bool) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let hex = bytes.as_slice().get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                bytes.nth(1);
            }
            (b'+', _) if is_query => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Returns whether a header `Host` names this machine: `localhost`, an address of 127.0.0.0/8 or `[::1]`, each with or
/// without a port ([O3](hedge_core::rules#O3)).
///
/// A server on loopback should refuse other hosts. Otherwise an attacker could let the name of a site point to
/// 127.0.0.1. A page of this site could then read the pages through the browser of an operator (DNS rebinding).
///
/// ```
/// assert!(hedge_admin::is_local_host("localhost:8080") && hedge_admin::is_local_host("[::1]"));
/// assert!(!hedge_admin::is_local_host("evil.example:8080"));
/// ```
#[must_use]
pub fn is_local_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(rest) => ("[::1]", rest.strip_prefix(':').or(rest.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
    let is_loopback = || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_port && (name == "[::1]" || name.eq_ignore_ascii_case("localhost") || is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o3_targets_are_decoded_and_cut() {
        let parsed = Request::new("/vars/a%2Fb%zz?x=1+2&y=%3C&&z#q").accept("text/html,*/*").parse();
        assert_eq!(parsed.path, ["vars", "a/b%zz"]);
        assert_eq!((parsed.get("x"), parsed.get("y"), parsed.get("z")), (Some("1 2"), Some("<"), None));
        assert_eq!((parsed.format, parsed.page()), (Format::Html, 1));
        assert_eq!(Request::new("/?format=json&page=3").accept("text/html").parse().format, Format::Json);
        assert_eq!(Request::new(&"é".repeat(1 << 20)).target.len(), MOST);
        assert_eq!(decode("%ff%4", false), "\u{FFFD}%4");
        assert_eq!(decode("%+1", false), "%+1");
    }

    #[test]
    fn o3_hosts_are_local_by_name_and_by_address() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:80"] {
            assert!(is_local_host(host), "{host}");
        }
        for host in
            ["", "localhost.evil", "evil", "128.0.0.1", "[::1]x", "[::1]:x", "localhost:99999", "127.0.0.1.evil:80"]
        {
            assert!(!is_local_host(host), "{host}");
        }
    }
}

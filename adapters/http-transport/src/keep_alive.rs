//! How long the server keeps an idle connection: [`timeout`].

use std::time::Duration;

use ::http::header::HeaderName;
use ::http::{HeaderMap, HeaderValue};

/// A connection is not used in this last part of its time, since a request could meet the server's close.
const MARGIN: Duration = Duration::from_secs(1);

/// For how long a connection may be kept idle after an answer with these headers: what its `Keep-Alive: timeout=N` says
/// (RFC 2068, 19.7.1.1), less 1 s or half of it. With several, the shortest. `None` if the server says nothing, or
/// nothing that can be read.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

    // Few answers have this header. To compare the names costs less than to look it up.
    if !headers.keys().any(|name| *name == KEEP_ALIVE) {
        return None;
    }
    let timeout = headers.get_all(KEEP_ALIVE).iter().flat_map(parameters).filter_map(seconds).min()?;
    let timeout = Duration::from_secs(timeout.into());
    Some(timeout.saturating_sub(MARGIN.min(timeout / 2)))
}

fn parameters(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',')
}

/// The seconds of `timeout=N`. What is larger than its type is no limit worth to know.
fn seconds(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim().trim_matches('"');
    let is_timeout = name.trim().eq_ignore_ascii_case("timeout") && value.bytes().all(|byte| byte.is_ascii_digit());
    is_timeout.then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_the_time_of_a_keep_alive_header_is_read() {
        for (values, millis) in [
            (&["timeout=5"][..], Some(4_000)),
            (&["timeout=5, max=100"], Some(4_000)),
            (&["max=100,Timeout = \"60\""], Some(59_000)),
            (&["timeout=1"], Some(500)),
            (&["timeout=0"], Some(0)),
            (&["timeout=9", "timeout=5"], Some(4_000)),
            (&["timeout=4294967295"], Some(4_294_967_294_000)),
            (&["timeout=4294967296"], None),
            (&["timeout=99999999999999999999999999"], None),
            (&["timeout=+5"], None),
            (&["timeout=-5"], None),
            (&["timeout=5s"], None),
            (&["timeout="], None),
            (&["timeout"], None),
            (&["max=5", ""], None),
            (&["\u{e4}=5"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("keep-alive", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(timeout(&headers), millis.map(Duration::from_millis), "{values:?}");
        }
    }
}

//! Reads the headers with which a server delays or stops further attempts: [`pushback`].

use std::time::SystemTime;

use hedge_core::outcome::Pushback;
use hedge_core::time::Duration;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};

use crate::header::{digits, only};

/// The header with a pushback in gRPC's proposal A6.
const GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The longest delay in gRPC's header, whose value is a signed number of 32 bits.
const GRPC_LONGEST_MS: u64 = 2_147_483_647;

/// Reads the pushback from the headers or the trailers of a failed response. With a pushback, the server delays or
/// stops further attempts of the call ([R4](hedge_core::rules#R4)). Returns `None` if there is no pushback.
///
/// * `grpc-retry-pushback-ms` is read first. As in A6, a number of at most 2147483647 is a delay in milliseconds. Any
///   other value, such as a negative number, means "do not retry".
/// * Without this header, `Retry-After` is read (RFC 9110, 10.2.3). A number is a delay in seconds. A date is compared
///   with the wall clock of this machine. A date in the past is a delay of 0. The RFC does not define any other value.
///   Here any other value means "do not retry", since the server wants a pause of unknown length.
///
/// gRPC's header applies to all servers of the service. `Retry-After` applies only to the server that sent it, so
/// attempts at other servers are not delayed ([`Pushback::for_server`]).
///
/// A number consists of digits only, so `+5` is not a number. If a header comes several times, its values contradict
/// each other. This means "do not retry", as in gRPC for Go.
#[must_use]
pub fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    pushback_at(headers, SystemTime::now)
}

fn pushback_at(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Pushback> {
    if let Some(text) = only(headers, &GRPC_RETRY_PUSHBACK_MS) {
        let delay = text.and_then(digits).filter(|ms| *ms <= GRPC_LONGEST_MS).map(Duration::from_millis);
        return Some(delay.map_or(Pushback::DO_NOT, Pushback::after));
    }
    let delay = only(headers, &RETRY_AFTER)?.and_then(|text| retry_after(text, now));
    Some(delay.map_or(Pushback::DO_NOT, Pushback::after).for_server())
}

fn retry_after(text: &str, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    if let Some(seconds) = digits(text) {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // `duration_since` fails for a date in the past.
    Some(date.duration_since(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    const fn ms(millis: u64) -> Option<Pushback> {
        Some(Pushback::after(Duration::from_millis(millis)))
    }

    const DO_NOT: Option<Pushback> = Some(Pushback::DO_NOT);

    /// Returns the pushback of these headers at the time 30 Sep 2015, 08:49:37.25 GMT.
    fn asked(headers: &[(&'static str, &[u8])]) -> Option<Pushback> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        pushback_at(&map, || UNIX_EPOCH + Duration::from_millis(1_443_602_977_250))
    }

    #[test]
    fn r4_grpc_names_milliseconds_and_anything_else_is_do_not() {
        for (value, expected) in [
            ("0", ms(0)),
            ("35", ms(35)),
            ("007", ms(7)),
            ("2147483647", ms(2_147_483_647)),
            ("2147483648", DO_NOT),
            ("4294967295", DO_NOT),
            ("18446744073709551616", DO_NOT),
            ("-1", DO_NOT),
            ("-2147483649", DO_NOT),
            ("-0", DO_NOT),
            ("+5", DO_NOT),
            ("+35", DO_NOT),
            ("", DO_NOT),
            ("1.5", DO_NOT),
            ("35 ms", DO_NOT),
            ("0x10", DO_NOT),
            ("soon", DO_NOT),
        ] {
            assert_eq!(asked(&[("grpc-retry-pushback-ms", value.as_bytes())]), expected, "{value:?}");
        }
    }

    #[test]
    fn r4_retry_after_names_seconds_or_a_date_and_anything_else_is_do_not() {
        for (value, expected) in [
            ("0", ms(0)),
            ("1", ms(1_000)),
            ("120", ms(120_000)),
            ("18446744073709551615", Some(Pushback::after(Duration::MAX))),
            ("99999999999999999999", DO_NOT),
            ("-1", DO_NOT),
            ("+1", DO_NOT),
            ("+120", DO_NOT),
            ("", DO_NOT),
            ("0.5", DO_NOT),
            ("1, 2", DO_NOT),
            // These are the three forms of a date. The date is 2.75 s ahead.
            ("Wed, 30 Sep 2015 08:49:40 GMT", ms(2_750)),
            ("Wednesday, 30-Sep-15 08:49:40 GMT", ms(2_750)),
            ("Wed Sep 30 08:49:40 2015", ms(2_750)),
            // The first two dates are in the past. The first one is the current second, which began 0.25 s ago.
            ("Wed, 30 Sep 2015 08:49:37 GMT", ms(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", ms(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", ms(251_958_697_821_750)),
            // These are a day that does not exist, a wrong weekday, another time zone, and other formats.
            ("Mon, 31 Feb 2028 08:49:40 GMT", DO_NOT),
            ("Mon, 30 Sep 2015 08:49:40 GMT", DO_NOT),
            ("Wed, 30 Sep 2015 08:49:40 CET", DO_NOT),
            ("2015-09-30T08:49:40Z", DO_NOT),
            ("Wed, 30 Sep 2015", DO_NOT),
        ] {
            let expected = expected.map(Pushback::for_server);
            assert_eq!(asked(&[("retry-after", value.as_bytes())]), expected, "{value:?}");
        }
    }

    #[test]
    fn r4_grpc_counts_before_http_and_two_values_contradict_each_other() {
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("x-retry-after", b"1")]), None);
        assert_eq!(asked(&[("retry-after", b"7"), ("grpc-retry-pushback-ms", b"20")]), ms(20));
        assert_eq!(asked(&[("retry-after", b"7"), ("grpc-retry-pushback-ms", b"-1")]), DO_NOT);
        for name in ["retry-after", "grpc-retry-pushback-ms"] {
            let of = |values: &[(&'static str, &[u8])]| asked(values).map(Pushback::for_service);
            assert_eq!(of(&[(name, b"1"), (name, b"1")]), DO_NOT, "{name}");
            assert_eq!(of(&[(name, b"\xFF1")]), DO_NOT, "{name}: no text");
        }
    }

    #[test]
    fn r4_a_date_is_as_far_away_as_the_wall_clock_says() {
        let mut headers = HeaderMap::new();
        let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
        headers.insert(RETRY_AFTER, far.parse().unwrap());
        let pushback = pushback(&headers).unwrap();
        let delay = pushback.delay().expect("a date is a delay");
        assert!(pushback.is_of_server() && (3_500..=3_600).contains(&delay.as_secs()), "{delay:?}");
    }
}

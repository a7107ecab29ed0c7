//! Reads headers that must not come twice, and numbers in headers.

use http::{HeaderMap, HeaderName};

/// Returns the text of a header. Returns `None` if the header is missing. Returns `Some(None)` if the header comes
/// twice, or if its value is not text.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Option<&'h str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

/// Parses a number that consists of digits only. Returns `None` for any other text. Rust's own parser would also accept
/// a `+` before the digits.
pub(crate) fn digits(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_all_that_a_number_has() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            (" 5", None),
            ("5 ", None),
            ("٥", None),
        ] {
            assert_eq!(digits(text), expected, "{text:?}");
        }
    }
}

//! The endpoints of a URL: [`parse_places`].

use std::sync::Arc;

use hedge_fleet::Address;

/// How many endpoints a URL may have.
const MOST: usize = 16;

/// An endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    /// The address as text, for the header `host` and for errors.
    pub(crate) text: Arc<str>,
}

impl Place {
    pub(crate) fn new(address: Address) -> Self {
        let text = address.to_string().into();
        Self { address, text }
    }
}

/// Splits `host:port,host:port/path` into its endpoints and the path behind the slash. The error says what to write.
pub(crate) fn parse_places(rest: &str) -> Result<(Arc<[Place]>, &str), String> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("has a user or a password before '@'; give them as options".into());
    }
    let mut places = Vec::new();
    for text in authority.split(',') {
        let address = text.parse::<Address>().map_err(|error| format!("endpoint {text:?}: {error}"))?;
        if matches!(address, Address::Unix(_)) {
            return Err(format!("endpoint {text:?}: must be host:port"));
        }
        places.push(Place::new(address));
    }
    if places.len() > MOST { Err(format!("more than {MOST} endpoints")) } else { Ok((places.into(), path)) }
}

/// The text as one segment of a path or one value of a query.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_a_url_names_one_endpoint_or_several() {
        let (places, path) = parse_places("a:1,[::1]:2,10.0.0.1:3/x/y?z").unwrap();
        let texts: Vec<_> = places.iter().map(|place| &*place.text).collect();
        assert_eq!((texts.as_slice(), path), (["a:1", "[::1]:2", "10.0.0.1:3"].as_slice(), "x/y?z"));
        for (rest, expected) in [
            ("", "endpoint \"\": port missing; write host:port"),
            ("a/x", "endpoint \"a\": port missing; write host:port"),
            ("a:1,/x", "endpoint \"\": port missing; write host:port"),
            ("unix:x/y", "endpoint \"unix:x\": must be host:port"),
            ("me:secret@a:1/x", "has a user or a password before '@'; give them as options"),
        ] {
            assert_eq!(parse_places(rest).unwrap_err(), expected, "{rest}");
        }
        assert_eq!(parse_places(&vec!["a:1"; 17].join(",")).unwrap_err(), "more than 16 endpoints");
    }

    #[test]
    fn n1_a_name_cannot_change_the_path_or_the_query() {
        assert_eq!(percent_encoded("a/../b?c&d=e f\r\nä~"), "a%2F..%2Fb%3Fc%26d%3De%20f%0D%0A%C3%A4~");
    }
}

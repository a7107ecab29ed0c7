//! The target of a request at its server: the path and the query, as a program gives them.

use std::fmt::{self, Write as _};

use ::http::Uri;

use super::request_error::{PathFault, RequestError, first_invalid};

/// Parses the target of a request: a path with its query, `*`, or an absolute URI.
///
/// # Errors
/// [`RequestError::Path`], which says where the text is wrong.
pub fn parse(text: &str) -> Result<Uri, RequestError> {
    let wrong = |fault| RequestError::Path { path: text.into(), fault };
    if !text.starts_with('/') && text != "*" && !is_absolute(text) {
        return Err(wrong(PathFault::NoSlash));
    }
    Uri::try_from(text).map_err(|error| {
        let is_path = text.starts_with('/');
        let at = first_invalid(text.as_bytes(), |start| Uri::try_from(start).is_ok()).filter(|_| is_path);
        wrong(PathFault::Invalid { error, at })
    })
}

/// The same target with `name=value` at the end of its query, percent-encoded.
///
/// # Errors
/// [`RequestError::Query`] if the value cannot be written, and [`RequestError::Path`] if no query can follow the target.
pub fn with_query(uri: &Uri, name: &str, value: &dyn fmt::Display) -> Result<Uri, RequestError> {
    let mut text = uri.to_string();
    text.push(if uri.query().is_some() { '&' } else { '?' });
    // Writing into a string fails only if the value's own `Display` fails.
    let written = write!(Encoded(&mut text), "{name}").and_then(|()| {
        text.push('=');
        write!(Encoded(&mut text), "{value}")
    });
    match written {
        Ok(()) => parse(&text),
        Err(fmt::Error) => Err(RequestError::Query { name: name.into() }),
    }
}

/// Whether the text begins with a scheme.
fn is_absolute(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
}

/// Percent-encodes every byte except the unreserved ones (RFC 3986, 2.1 and 2.3).
struct Encoded<'a>(&'a mut String);

impl fmt::Write for Encoded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => self.0.push(byte.into()),
                _ => write!(self.0, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded_and_added() {
        for (path, name, value, expected) in [
            ("/a", "q", "x y&z=ü/~", "/a?q=x%20y%26z%3D%C3%BC%2F~"),
            ("/a?b=c", "d", "", "/a?b=c&d="),
            ("/a?b", "a b", "1", "/a?b&a%20b=1"),
            ("http://example.com/a", "q", "1", "http://example.com/a?q=1"),
            ("http://example.com", "q", "1", "http://example.com/?q=1"),
        ] {
            let with = with_query(&parse(path).unwrap(), name, &value).unwrap();
            assert_eq!(with.to_string(), expected, "{path}");
        }
        let error = with_query(&parse("*").unwrap(), "q", &1).unwrap_err();
        assert_eq!(error.to_string(), r#"path "*?q=1": must begin with /"#);
    }

    #[test]
    fn a_value_that_cannot_be_written_is_an_error() {
        struct Unwritable;

        impl fmt::Display for Unwritable {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }

        let error = with_query(&parse("/").unwrap(), "q", &Unwritable).unwrap_err();
        assert_eq!(error.to_string(), r#"query parameter "q": its value cannot be written as text"#);
    }

    #[test]
    fn what_is_no_target_says_where_it_is_wrong() {
        let long = format!("/{}", "x".repeat(70_000));
        for (path, expected) in [
            ("", r#"path "": must begin with /"#),
            ("users/1", r#"path "users/1": must begin with /"#),
            ("10.0.0.1:80", r#"path "10.0.0.1:80": must begin with /"#),
            ("/a b", r#"path "/a b": invalid uri character at byte 2"#),
            ("/a?b=\n", r#"path "/a?b=\n": invalid uri character at byte 5"#),
            ("http://a b/", r#"path "http://a b/": invalid uri character"#),
        ] {
            assert_eq!(parse(path).unwrap_err().to_string(), expected);
        }
        let error = parse(&long).unwrap_err().to_string();
        assert!(error.len() < 200 && error.ends_with("…\": uri too long at byte 65534"), "{error}");
        for path in ["/", "/a?b#c", "*", "http://example.com", "https://example.com/a"] {
            assert!(parse(path).is_ok(), "{path}");
        }
    }
}

//! The server of a key and its value: [`read`].

use hedge_fleet::{AddressError, Server};
use serde::Deserialize;
use serde_json::Value;

use crate::words::Words;

/// The value that the package `naming/endpoints` of etcd writes.
#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Addr")]
    address: String,
    #[serde(rename = "Metadata", default)]
    metadata: Value,
}

/// Reads the server of a key. See [`Etcd`](super::Etcd) for the forms of a value.
pub(super) fn read(key: &str, value: &str) -> Result<Server, AddressError> {
    let value = value.trim();
    if value.is_empty() {
        return key.rsplit('/').next().unwrap_or(key).parse();
    }
    if !value.starts_with('{') {
        return value.parse();
    }
    match serde_json::from_str::<Endpoint>(value) {
        Ok(endpoint) => Ok(Server::new(endpoint.address.parse::<hedge_fleet::Address>()?, tag(&endpoint.metadata))),
        // No address begins with a brace.
        Err(_) => Err(AddressError::Host),
    }
}

fn tag(metadata: &Value) -> String {
    match metadata {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Number(number) => number.to_string(),
        Value::Object(fields) => {
            let mut words = Words::default();
            for (key, value) in fields {
                match value {
                    Value::String(text) => words.pair(key, text),
                    Value::Number(_) | Value::Bool(_) => words.pair(key, &value.to_string()),
                    Value::Null | Value::Array(_) | Value::Object(_) => {}
                }
            }
            words.into_tag()
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_a_value_is_a_line_or_json_or_empty() {
        for (key, value, expected) in [
            ("a/1", "10.0.0.1:80", "10.0.0.1:80"),
            ("a/1", " 10.0.0.1:80  zone=a weight=2\n", "10.0.0.1:80 zone=a weight=2"),
            ("a/[::1]:80", "", "[::1]:80"),
            ("a/b/10.0.0.1:80", " ", "10.0.0.1:80"),
            ("a/1", r#"{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}"#, "10.0.0.1:80"),
            ("a/1", r#"{"Addr":"h:80"}"#, "h:80"),
            ("a/1", r#"{"Addr":"h:80","Metadata":"canary  x"}"#, "h:80 canary x"),
            ("a/1", r#"{"Addr":"h:80","Metadata":7}"#, "h:80 7"),
            (
                "a/1",
                r#"{"Addr":"h:80","Metadata":{"zone":"a","weight":3,"no":null,"bad":"x y","deep":{"a":1}}}"#,
                "h:80 weight=3 zone=a",
            ),
        ] {
            assert_eq!(read(key, value).unwrap().to_string(), expected, "{value}");
        }
        for (key, value) in
            [("a/1", ""), ("a/1", "{"), ("a/1", r#"{"Addr":5}"#), ("a/1", r#"{"Addr":"h"}"#), ("a/1", "x")]
        {
            assert!(read(key, value).is_err(), "{value}");
        }
    }
}

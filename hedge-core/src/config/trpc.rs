//! The limiter of tRPC, read from tRPC's own configuration: [`TrpcService`].

use core::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::TokenConfig;
use crate::field::named::fields;
use crate::limit::{TokenOptions, TrpcTokens};

/// The two names of the limiter: the one in tRPC's YAML, and the one in the text of its documentation.
const LIMITER: [&str; 2] = ["retry_hedging_limiter", "retry_hedging_limit"];

/// A service in a client's configuration of tRPC (`trpc_cpp.yaml`), whose limiter on retries and backups is read.
///
/// This is the part that is read. Everything else is ignored, since the file is written for tRPC:
///
/// ```yaml
/// client:
///   service:
///     - name: trpc.test.helloworld.Greeter
///       filter:
///         - retry_hedging_limiter
///       filter_config:
///         retry_hedging_limiter:
///           max_tokens: 20  # 100 if absent
///           token_ratio: 2  # 10 if absent
/// ```
///
/// As in tRPC, the limiter is on only if the list `filter` of the service names it. Both `filter` and `filter_config`
/// may also have the name `retry_hedging_limit`, which is the spelling in the text of tRPC's documentation. Numbers are
/// in \[1, 1000000\].
///
/// ```
/// use hedge_core::config::TrpcService;
/// use hedge_core::limit::LimitOptions;
///
/// let text = "
/// client:
///   service:
///     - name: trpc.test.helloworld.Greeter
///       filter: [retry_hedging_limiter]
///       filter_config: {retry_hedging_limiter: {max_tokens: 20, token_ratio: 2}}
/// ";
/// let greeter = TrpcService::named("trpc.test.helloworld.Greeter");
/// let tokens = greeter.limiter(serde_yaml_ng::Deserializer::from_str(text))?;
/// // The limiter counts failures only. The ratio bounds backups while servers are slow, too.
/// let limits = LimitOptions { tokens, ..LimitOptions::SAFE };
/// # assert!(limits.tokens.is_some());
/// # Ok::<(), serde_yaml_ng::Error>(())
/// ```
///
/// Cost: reading allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrpcService<'a> {
    name: &'a str,
}

impl<'a> TrpcService<'a> {
    /// Chooses the service with this name.
    #[must_use]
    pub const fn named(name: &'a str) -> Self {
        Self { name }
    }

    /// Reads the limiter of the service. Returns `None` if the document does not have the service, or if the limiter is
    /// not on.
    ///
    /// # Errors
    /// Returns an error if the document cannot be read, if a number of any service's limiter is out of its range, or if
    /// the service or a key that is read is there twice.
    pub fn limiter<'de, D: Deserializer<'de>>(self, document: D) -> Result<Option<TokenOptions>, D::Error> {
        Ok(Document(self.name).deserialize(document)?.and_then(|service| service.limiter()))
    }
}

/// What was read of a service.
#[derive(Default)]
struct Service {
    is_wanted: bool,
    is_on: bool,
    tokens: Tokens,
}

impl Service {
    fn limiter(&self) -> Option<TokenOptions> {
        let Tokens { max_tokens, token_ratio } = self.tokens;
        self.is_on.then(|| TokenConfig::Trpc { max_tokens, token_ratio }.over(None))
    }
}

/// The options of the limiter.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tokens {
    #[serde(deserialize_with = "max_tokens")]
    max_tokens: Option<TrpcTokens>,
    #[serde(deserialize_with = "token_ratio")]
    token_ratio: Option<TrpcTokens>,
}

fields! {
    max_tokens: optional, "retry_hedging_limiter.max_tokens", TrpcTokens;
    token_ratio: optional, "retry_hedging_limiter.token_ratio", TrpcTokens;
}

/// Makes the reader of one part of the document. It holds the name of the service that is wanted. Null means absent.
macro_rules! part {
    ($part:ident -> $value:ty, $expected:literal, $visit:ident($name:pat, $access:ident: $kind:ident) $body:block) => {
        struct $part<'a>(&'a str);

        impl<'de> DeserializeSeed<'de> for $part<'_> {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $part<'_> {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expected)
            }

            fn visit_unit<E>(self) -> Result<$value, E> {
                Ok(Default::default())
            }

            fn visit_none<E>(self) -> Result<$value, E> {
                Ok(Default::default())
            }

            fn $visit<A: $kind<'de>>(self, mut $access: A) -> Result<$value, A::Error> {
                let Self($name) = self;
                $body
            }
        }
    };
}

part! { Document -> Option<Service>, "tRPC's configuration, a map with `client`", visit_map(name, map: MapAccess) {
    let mut found = None;
    while let Some(key) = map.next_key_seed(OneOf(&["client"]))? {
        match key {
            Some(_) => once(&mut found, map.next_value_seed(Client(name))?, "client")?,
            None => _ = map.next_value::<IgnoredAny>()?,
        }
    }
    Ok(found.flatten())
}}

part! { Client -> Option<Service>, "client: a map with `service`", visit_map(name, map: MapAccess) {
    let mut found = None;
    while let Some(key) = map.next_key_seed(OneOf(&["service"]))? {
        match key {
            Some(_) => once(&mut found, map.next_value_seed(Services(name))?, "client.service")?,
            None => _ = map.next_value::<IgnoredAny>()?,
        }
    }
    Ok(found.flatten())
}}

part! { Services -> Option<Service>, "client.service: a list of services", visit_seq(name, list: SeqAccess) {
    let mut found = None;
    while let Some(service) = list.next_element_seed(OneService(name))? {
        if service.is_wanted && found.replace(service).is_some() {
            return Err(A::Error::custom(format_args!("client.service has `{name}` twice: remove one of them")));
        }
    }
    Ok(found)
}}

part! { OneService -> Service, "client.service: a map with `name`", visit_map(name, map: MapAccess) {
    let (mut is_wanted, mut is_on, mut tokens) = (None, None, None);
    while let Some(key) = map.next_key_seed(OneOf(&["name", "filter", "filter_config"]))? {
        match key {
            Some(0) => once(&mut is_wanted, map.next_value_seed(OneOf(&[name]))?.is_some(), "client.service.name")?,
            Some(1) => once(&mut is_on, map.next_value_seed(Filters(name))?, "client.service.filter")?,
            Some(_) => once(&mut tokens, map.next_value_seed(FilterConfig(name))?, "client.service.filter_config")?,
            None => _ = map.next_value::<IgnoredAny>()?,
        }
    }
    Ok(Service {
        is_wanted: is_wanted.unwrap_or_default(),
        is_on: is_on.unwrap_or_default(),
        tokens: tokens.flatten().unwrap_or_default(),
    })
}}

part! { Filters -> bool, "client.service.filter: a list of names", visit_seq(_name, list: SeqAccess) {
    let mut is_on = false;
    while let Some(limiter) = list.next_element_seed(OneOf(&LIMITER))? {
        is_on |= limiter.is_some();
    }
    Ok(is_on)
}}

part! { FilterConfig -> Option<Tokens>, "client.service.filter_config: a map of filters", visit_map(_name, map: MapAccess) {
    let mut tokens = None;
    while let Some(key) = map.next_key_seed(OneOf(&LIMITER))? {
        if key.is_none() {
            map.next_value::<IgnoredAny>()?;
        } else if tokens.replace(map.next_value::<Option<Tokens>>()?.unwrap_or_default()).is_some() {
            let [name, other] = LIMITER;
            return Err(A::Error::custom(format_args!("filter_config has the limiter twice, as `{name}` or `{other}`: remove one of them")));
        }
    }
    Ok(tokens)
}}

/// Keeps the value of a key. A second value is an error, since it would replace the first one silently.
fn once<T, E: Error>(held: &mut Option<T>, value: T, key: &str) -> Result<(), E> {
    match held.replace(value) {
        Some(_) => Err(E::custom(format_args!("{key} is there twice: remove one of them"))),
        None => Ok(()),
    }
}

/// Reads a key or a name. The value is the index of the text in this list, or `None` for anything else.
struct OneOf<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for OneOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for OneOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| *name == text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<usize>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bounded::Bounded;
    use std::format;
    use std::string::{String, ToString};

    fn read(yaml: &str) -> Result<Option<TokenOptions>, String> {
        let greeter = TrpcService::named("trpc.test.helloworld.Greeter");
        greeter.limiter(serde_yaml_ng::Deserializer::from_str(yaml)).map_err(|error| error.to_string())
    }

    /// The document of tRPC, with this as the service's filters and their configuration.
    fn service(filters: &str) -> String {
        format!(
            "global:\n  env_name: test\nclient:\n  timeout: 1000\n  service:\n    - name: trpc.test.helloworld.Other\n      \
             filter: [retry_hedging_limiter]\n    - name: trpc.test.helloworld.Greeter\n      target: 127.0.0.1:80\n{filters}"
        )
    }

    const fn tokens<const MOST: u32, const RATIO: u32>() -> TokenOptions {
        TokenOptions::Trpc { max_tokens: Bounded::of::<MOST>(), token_ratio: Bounded::of::<RATIO>() }
    }

    /// The example of tRPC's documentation.
    const EXAMPLE: &str = "      filter:
        - retry_hedging_limiter  # use `retry_hedging_limiter` filter
      filter_config:  # configuration of service-level filter
        retry_hedging_limiter:  # configuration of `retry_hedging_limiter` filter
          max_tokens: 20  # max token number in bucket, default value is 100
          token_ratio: 2
";

    #[test]
    fn b4_the_limiter_is_read_as_trpcs_document_has_it() {
        let config = |values: &str| {
            format!("      filter: [retry_hedging_limiter]\n      filter_config: {{retry_hedging_limiter: {values}}}\n")
        };
        for (filters, wanted) in [
            (EXAMPLE.to_string(), Some(tokens::<20, 2>())),
            (EXAMPLE.replace("limiter", "limit"), Some(tokens::<20, 2>())),
            (EXAMPLE.replace("- retry_hedging_limiter", "- retry_hedging_limit"), Some(tokens::<20, 2>())),
            (EXAMPLE.replace("- retry_hedging_limiter", "- tracing"), None),
            (
                EXAMPLE.replace("- retry_hedging_limiter", "- tracing\n        - retry_hedging_limiter"),
                Some(tokens::<20, 2>()),
            ),
            (config("{max_tokens: 20}"), Some(tokens::<20, 10>())),
            (config("{token_ratio: 2}"), Some(tokens::<100, 2>())),
            (config("{}"), Some(TokenOptions::TRPC)),
            (config("~"), Some(TokenOptions::TRPC)),
            (config("{max_tokens: ~}"), Some(TokenOptions::TRPC)),
            ("      filter: [retry_hedging_limiter]\n".to_string(), Some(TokenOptions::TRPC)),
            ("      filter: [retry_hedging_limiter]\n      filter_config: ~\n".to_string(), Some(TokenOptions::TRPC)),
            ("      filter: ~\n".to_string(), None),
            ("      filter: [7, ~, true, 0.5, -1]\n      8: 9\n".to_string(), None),
            (String::new(), None),
        ] {
            assert_eq!(read(&service(&filters)), Ok(wanted), "{filters}");
        }
        for nothing in [
            "",
            "{}",
            "client: ~",
            "client: {}",
            "client: {service: ~}",
            "client: {service: []}",
            "server: {service: [7]}",
        ] {
            assert_eq!(read(nothing), Ok(None), "{nothing}");
        }
        let json = r#"{"client": {"service": [{"filter": ["retry_hedging_limit"], "name": "a\u0062"}]}}"#;
        let service = TrpcService::named("ab");
        assert_eq!(service.limiter(&mut serde_json::Deserializer::from_str(json)).unwrap(), Some(TokenOptions::TRPC));
    }

    #[test]
    fn b4_what_cannot_be_read_is_named() {
        let twice = "    - name: trpc.test.helloworld.Greeter\n";
        let both = "        retry_hedging_limit: {max_tokens: 1}\n";
        for (filters, text) in [
            (EXAMPLE.replace("20", "0"), "retry_hedging_limiter.max_tokens 0: must be an integer in [1, 1000000]"),
            (EXAMPLE.replace("20", "-1"), "retry_hedging_limiter.max_tokens -1: must be an integer in [1, 1000000]"),
            (EXAMPLE.replace("20", "1000001"), "max_tokens 1000001: must be an integer in [1, 1000000]"),
            (EXAMPLE.replace("20", "many"), r#"max_tokens "many": must be an integer in [1, 1000000]"#),
            (
                EXAMPLE.replace("token_ratio: 2", "token_ratio: 2.5"),
                "token_ratio 2.5: must be an integer in [1, 1000000]",
            ),
            (EXAMPLE.replace("token_ratio", "ratio"), "unknown field `ratio`, expected `max_tokens` or `token_ratio`"),
            (EXAMPLE.to_string() + both, "filter_config has the limiter twice, as `retry_hedging_limiter` or"),
            (EXAMPLE.to_string() + twice, "client.service has `trpc.test.helloworld.Greeter` twice"),
            ("      filter: retry_hedging_limiter\n".to_string(), "expected client.service.filter: a list of names"),
            ("      filter_config: 7\n".to_string(), "expected client.service.filter_config: a map of filters"),
        ] {
            let error = read(&service(&filters)).unwrap_err();
            assert!(error.contains(text), "{filters}: {error}");
        }
        for (document, text) in [
            ("client: {}\nclient: {}", "client is there twice: remove one of them"),
            ("client: {service: [], service: ~}", "client.service is there twice"),
            ("client: {service: [{name: a, name: b}]}", "client.service.name is there twice"),
            (
                "client: {service: [{filter: [retry_hedging_limiter], filter: []}]}",
                "client.service.filter is there twice",
            ),
            (
                "client: {service: [{filter_config: {}, filter_config: ~}]}",
                "client.service.filter_config is there twice",
            ),
            (
                "client: {service: [{filter_config: {retry_hedging_limit: {}, retry_hedging_limit: {}}}]}",
                "filter_config has the limiter twice",
            ),
            ("7", "expected tRPC's configuration, a map with `client`"),
            ("client: 7", "expected client: a map with `service`"),
            ("client: {service: {}}", "expected client.service: a list of services"),
            ("client: {service: [7]}", "expected client.service: a map with `name`"),
        ] {
            let error = read(document).unwrap_err();
            assert!(error.contains(text), "{document}: {error}");
        }
    }
}

//! The methods in a service config: [`Methods`], and [`ServiceConfigError`].

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hedge_core::config::service_config::{self, Document, MethodConfig, ServiceConfig};
use hedge_core::limit::TokenOptions;
use hedge_core::outcome::Verdict;
use hedge_core::policy::{Backoff, BackupDelay, Idempotency};
use hedge_core::time::Timeout;
use hedge_fleet::CallOptions;
use hedge_http::RetryCodes;
use serde_json::value::RawValue;

/// The maximum number of entries of `methodConfig` in a service config.
const MOST_CONFIGS: usize = 1_024;
/// The maximum number of names in each entry.
const MOST_NAMES: usize = 256;

/// The options that a service config sets for each method.
pub(super) struct Methods {
    /// The options of each named method. The key is `service/method`, or `service/` for a whole service.
    named: HashMap<Box<str>, Arc<MethodOptions>>,
    default: Option<Arc<MethodOptions>>,
    throttling: Option<TokenOptions>,
}

impl Methods {
    /// Reads a service config. The core's type for a service config has room for a fixed number of entries, on the
    /// stack. So this function reads the entries one by one.
    pub(super) fn parse(json: &str) -> Result<Self, ServiceConfigError> {
        let fields: HashMap<Box<str>, &RawValue> = serde_json::from_str(json).map_err(|error| wrong(json, error))?;
        let entries: Option<Vec<&RawValue>> = match fields.get("methodConfig") {
            Some(entries) => serde_json::from_str(entries.get()).map_err(|error| wrong(json, error))?,
            None => None,
        };
        let entries = entries.unwrap_or_default();
        if entries.len() > MOST_CONFIGS {
            let message = format!("methodConfig: there is room for {MOST_CONFIGS}").into();
            return Err(ServiceConfigError::Field { method_config: None, field: "methodConfig", message });
        }
        let mut methods = Self { named: HashMap::new(), default: None, throttling: None };
        if let Some(throttling) = fields.get("retryThrottling") {
            let json = format!(r#"{{"retryThrottling": {throttling}}}"#);
            methods.throttling = read::<0>(&json, None)?.throttling();
        }
        for (index, entry) in entries.into_iter().enumerate() {
            let json = format!(r#"{{"methodConfig": [{entry}]}}"#);
            for method in read::<MOST_NAMES>(&json, Some(index))?.methods() {
                methods.add(index, method)?;
            }
        }
        Ok(methods)
    }

    /// Adds an entry of `methodConfig`.
    fn add<const NAMES: usize>(
        &mut self,
        index: usize,
        method: &MethodConfig<'_, NAMES>,
    ) -> Result<(), ServiceConfigError> {
        let options = Arc::new(MethodOptions::of(method));
        for (service, name) in method.names() {
            let options = Some(Arc::clone(&options));
            let earlier = if service.is_empty() {
                std::mem::replace(&mut self.default, options)
            } else {
                options.and_then(|options| self.named.insert(format!("{service}/{name}").into(), options))
            };
            if earlier.is_some() {
                let (field, text) = if name.is_empty() { ("name.service", service) } else { ("name.method", name) };
                let message = format!("methodConfig[{index}]: {field} {text:?}: must be named only once").into();
                return Err(ServiceConfigError::Field { method_config: Some(index), field, message });
            }
        }
        Ok(())
    }

    /// Returns the options of the method that the path of a request names. The path is `/service/method`. Returns
    /// `None` if the service config does not set options for this method.
    pub(super) fn of(&self, path: &str) -> Option<&MethodOptions> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let service = path.rfind('/').and_then(|slash| path.get(..=slash));
        let named = self.named.get(path).or_else(|| self.named.get(service?));
        named.or(self.default.as_ref()).map(Arc::as_ref)
    }

    /// Returns the options of the token bucket that all methods share. Returns `None` if there is no `retryThrottling`.
    pub(super) const fn throttling(&self) -> Option<TokenOptions> {
        self.throttling
    }
}

/// Reads a part of a service config. If the part is an entry of `methodConfig`, `index` is the index of this entry.
fn read<const NAMES: usize>(
    json: &str,
    index: Option<usize>,
) -> Result<ServiceConfig<'_, 1, NAMES>, ServiceConfigError> {
    let document: Document<'_, 1, NAMES> = serde_json::from_str(json).map_err(ServiceConfigError::Json)?;
    ServiceConfig::try_from(document).map_err(|error| {
        let method_config = error.method_config.and(index);
        ServiceConfigError::of(service_config::ServiceConfigError { method_config, ..error })
    })
}

/// Returns the core's error for a text that does not have the form of a service config. If the core has no error,
/// returns `error`, the error of serde.
fn wrong(json: &str, error: serde_json::Error) -> ServiceConfigError {
    read::<0>(json, None).err().unwrap_or(ServiceConfigError::Json(error))
}

/// The options that a service config sets for one method.
#[derive(Debug)]
pub(super) struct MethodOptions {
    timeout: Option<Timeout>,
    max_retry: Option<u8>,
    backup: Option<BackupDelay>,
    max_backups: Option<u8>,
    backoff: Option<Backoff>,
    idempotency: Idempotency,
    codes: RetryCodes,
}

impl MethodOptions {
    fn of<const NAMES: usize>(method: &MethodConfig<'_, NAMES>) -> Self {
        let options = method.call_options();
        let retried = (1..=16).filter(|code| method.verdict(*code) == Verdict::Retry);
        Self {
            timeout: options.timeout,
            max_retry: options.max_retry,
            backup: options.backup,
            max_backups: options.max_backups,
            backoff: options.backoff,
            idempotency: options.idempotency,
            // All of these codes can be in the set.
            codes: RetryCodes::new(retried).unwrap_or_default(),
        }
    }

    /// Returns the codes that are retried.
    pub(super) const fn codes(&self) -> RetryCodes {
        self.codes
    }

    /// Returns the options of a call. `own` are the call's own options. If the call does not set an option, the
    /// method's option is used.
    pub(super) fn applied(&self, own: CallOptions) -> CallOptions {
        CallOptions {
            timeout: own.timeout.or(self.timeout),
            max_retry: own.max_retry.or(self.max_retry),
            backup: own.backup.or(self.backup),
            max_backups: own.max_backups.or(self.max_backups),
            backoff: own.backoff.or(self.backoff),
            idempotency: match own.idempotency {
                Idempotency::Unset => self.idempotency,
                said => said,
            },
            ..own
        }
    }
}

/// The reason why a service config is not valid.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceConfigError {
    /// The text is not JSON. The error contains the line and the column.
    Json(serde_json::Error),
    /// The value of a field is not valid.
    Field {
        /// The index of the entry of `methodConfig`, from 0. `None` if the field is not in an entry.
        method_config: Option<usize>,
        /// The name of the field, such as `retryPolicy.maxAttempts`.
        field: &'static str,
        /// A text with the place of the field, its name, its value, and the values that are allowed.
        message: Box<str>,
    },
}

impl ServiceConfigError {
    fn of(error: service_config::ServiceConfigError<'_>) -> Self {
        Self::Field { method_config: error.method_config, field: error.field, message: error.to_string().into() }
    }
}

impl fmt::Display for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "service config: {error}"),
            Self::Field { message, .. } => write!(f, "service config: {message}"),
        }
    }
}

impl Error for ServiceConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(error) => error.source(),
            Self::Field { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_path_finds_its_method_from_the_most_to_the_least_specific() {
        let with = |names: &str, timeout: u32| format!(r#"{{"name": [{names}], "timeout": "{timeout}s"}}"#);
        let all = [
            with("{}", 1),
            with(r#"{"service": "a.B"}, {"service": "a.C"}"#, 2),
            with(r#"{"service": "a.B", "method": "Get"}"#, 3),
        ];
        let seconds = |methods: &Methods, path: &str| Some(methods.of(path)?.timeout?.limit()?.as_secs());
        let methods = Methods::parse(&format!(r#"{{"methodConfig": [{}]}}"#, all.join(","))).unwrap();
        for (path, expected) in [
            ("/a.B/Get", 3),
            ("/a.B/Put", 2),
            ("/a.C/Get", 2),
            ("/a.B/", 2),
            ("/a.B", 1),
            ("/a.D/Get", 1),
            ("/x/a.B/Get", 1),
            ("/", 1),
            ("*", 1),
            ("", 1),
        ] {
            assert_eq!(seconds(&methods, path), Some(expected), "{path}");
        }
        let methods = Methods::parse(&format!(r#"{{"methodConfig": [{}]}}"#, all[1])).unwrap();
        assert_eq!((seconds(&methods, "/a.C/Get"), seconds(&methods, "/a.D/Get")), (Some(2), None));
    }

    #[test]
    fn a_call_has_its_own_options_before_those_of_its_method() {
        let methods = Methods::parse(
            r#"{"methodConfig": [{"name": [{}], "timeout": "1s", "hedgingPolicy": {
                "maxAttempts": 3, "hedgingDelay": "0.02s", "nonFatalStatusCodes": ["UNAVAILABLE", 8]
            }}], "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}"#,
        )
        .unwrap();
        assert!(matches!(methods.throttling(), Some(TokenOptions::Grpc { max_tokens, .. }) if max_tokens.get() == 10));
        let method = methods.of("/a/b").unwrap();
        assert_eq!(method.codes(), RetryCodes::new([14, 8]).unwrap());
        let call = method.applied(CallOptions::new());
        assert_eq!(
            (call.timeout, call.max_retry, call.max_backups),
            (Some(Timeout::after(MS(1_000))), Some(2), Some(2))
        );
        assert_eq!((call.backup, call.idempotency), (Some(BackupDelay::after(MS(20))), Idempotency::Idempotent));
        let own = CallOptions { max_retry: Some(1), idempotency: Idempotency::NotIdempotent, ..CallOptions::new() };
        let call = method.applied(own.with_timeout(MS(5)).with_backup(MS(3)));
        assert_eq!((call.timeout, call.max_retry, call.max_backups), (Some(Timeout::after(MS(5))), Some(1), Some(2)));
        assert_eq!((call.backup, call.idempotency), (Some(BackupDelay::after(MS(3))), Idempotency::NotIdempotent));
    }

    #[test]
    fn a_method_without_a_policy_is_not_sent_again() {
        let methods = Methods::parse(r#"{"methodConfig": [{"name": [{}]}]}"#).unwrap();
        let method = methods.of("/a/b").unwrap();
        let call = method.applied(CallOptions::new());
        assert_eq!((call.max_retry, call.backup), (Some(0), Some(BackupDelay::OFF)));
        assert_eq!((call.idempotency, method.codes()), (Idempotency::Unset, RetryCodes::NONE));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let error = |json: &str| Methods::parse(json).err().unwrap();
        let wrong = error(
            r#"{"methodConfig": [{}, {"name": [{}], "retryPolicy": {"maxAttempts": 1, "initialBackoff": "1s",
                "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": [14]}}]}"#,
        );
        assert_eq!(
            wrong.to_string(),
            "service config: methodConfig[1]: retryPolicy.maxAttempts 1: must be an integer above 1"
        );
        assert!(matches!(
            wrong,
            ServiceConfigError::Field { method_config: Some(1), field: "retryPolicy.maxAttempts", .. }
        ));
        let no_json = error("{\n  \"methodConfig\": [}");
        assert_eq!(no_json.to_string(), "service config: expected value at line 2 column 20");
        let many = vec!["{}"; MOST_CONFIGS + 1].join(",");
        for (json, expected) in [
            (r#"{"methodConfig": 5}"#, "methodConfig 5: must be a list of objects"),
            (r#"{"methodConfig": [{}, null]}"#, "methodConfig: must be a list of objects"),
            ("[]", "service config: must be an object"),
            (
                r#"{"retryThrottling": {"maxTokens": 5}}"#,
                "retryThrottling.tokenRatio is missing: must be a number of at least 0.001",
            ),
            (
                r#"{"methodConfig": [{"name": [{"service": "a"}]}, {"name": [{"service": "b"}, {"service": "a"}]}]}"#,
                r#"methodConfig[1]: name.service "a": must be named only once"#,
            ),
            (
                r#"{"methodConfig": [{"name": [{}]}, {"name": [{}]}]}"#,
                r#"methodConfig[1]: name.service "": must be named only once"#,
            ),
            (&format!(r#"{{"methodConfig": [{many}]}}"#), "methodConfig: there is room for 1024"),
        ] {
            assert_eq!(error(json).to_string(), format!("service config: {expected}"));
        }
    }

    #[test]
    fn a_config_may_have_many_entries_and_names() {
        let names: Vec<_> = (0..MOST_NAMES).map(|name| format!(r#"{{"service": "a", "method": "{name}"}}"#)).collect();
        let all = format!(r#"{{"name": [{}], "timeout": "2s"}}"#, names.join(","));
        let others = r#",{"name": [], "x": 1}"#.repeat(MOST_CONFIGS - 1);
        let methods = Methods::parse(&format!(r#"{{"methodConfig": [{all}{others}], "x": 1}}"#)).unwrap();
        assert!(methods.of("/a/255").is_some_and(|method| method.timeout == Some(Timeout::after(MS(2_000)))));
        assert!(methods.of("/a/256").is_none());
        for empty in ["{}", r#"{"methodConfig": null, "retryThrottling": null}"#] {
            assert!(Methods::parse(empty).unwrap().of("/a/0").is_none());
        }
    }
}

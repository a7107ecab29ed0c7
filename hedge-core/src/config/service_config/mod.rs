//! gRPC's service config: [`ServiceConfig`]. Only the part about retries and hedging is read. gRPC's proposal A6
//! defines this part.
//!
//! These fields are read: `methodConfig` with `name`, `timeout`, `retryPolicy` and `hedgingPolicy`, and
//! `retryThrottling`. gRPC's proposal A21 demands two things: an unknown field is ignored, and a known field with a
//! wrong value makes the whole document invalid. The reason for the first is that a service config is written for every
//! client of a server, so it may have fields that this client does not know. (In hedge's own files an unknown field is
//! an error.) Null means absent, as in the JSON of protocol buffers. Reading does not allocate. So text is borrowed
//! from the document and may not have escapes, and the type says how many items a list can have.
//!
//! Differences from A6:
//!
//! - A `timeout` of 0 is an error, since no call could be made ([L2](crate::rules#L2)).
//! - A `backoffMultiplier` below 1 counts as 1, so that waits do not shrink. Multipliers count in whole thousandths.
//! - After a failure of a hedged call, the next attempt follows at once, but the attempts after that one are not moved
//!   ([L4](crate::rules#L4)).
//! - After a pushback the backoff continues to grow.
//! - Transparent retries count as attempts.
//! - gRPC lets a client choose its own maximum of attempts. Here the maximum is A6's 5. If a call has room for fewer
//!   attempts, making the call is an error ([L3](crate::rules#L3)). If a driver has too few slots, its future returns
//!   an error.
//! - The field `perAttemptRecvTimeout` of a `retryPolicy` is ignored like any unknown field. It is an experiment of
//!   gRPC's C++ implementation, and A6 does not have it.

mod codes;
mod document;
mod error;
mod shape;

use heapless::Vec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

#[cfg(not(has_atomic_64))]
use crate::bounded::{Bounded, Decimal};
#[cfg(has_atomic_64)]
use crate::limit::{GrpcTokenRatio, GrpcTokens, TokenOptions};
use crate::outcome::Verdict;
use crate::policy::{Backoff, BackupDelay, CallOptions, ChannelOptions, Idempotency};
use crate::time::{Duration, Micros, Timeout, text};
pub use codes::StatusCodes;
pub use document::Document;
use document::{Codes, Hedging, List, Method, Retry, Throttling};
pub use error::{Range, ServiceConfigError, Value};
use shape::As;

/// A valid service config for at most `METHODS` method configs of at most `NAMES` names each.
///
/// There are two ways to read a service config. One way is to deserialize it directly. An error is then an error of
/// serde, with the text of a [`ServiceConfigError`]. The other way is to deserialize a [`Document`] first and to
/// convert the document. An error is then the [`ServiceConfigError`] itself.
///
/// Cost: a lookup compares the names one by one. With room for 16 method configs of 8 names, this type takes 5 KB.
///
/// ```
/// use hedge_core::config::service_config::ServiceConfig;
/// use hedge_core::outcome::Verdict;
/// use hedge_core::policy::ChannelOptions;
///
/// let text = r#"{"methodConfig": [{
///     "name": [{"service": "users.Users", "method": "Get"}],
///     "timeout": "1.5s",
///     "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.02s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
/// }]}"#;
/// let config: ServiceConfig<'_> = serde_json::from_str(text)?;
/// let method = config.method("users.Users", "Get").expect("it is there");
/// let options = method.channel_options(&ChannelOptions::brpc());
/// assert_eq!((options.max_retry, options.max_backups), (2, 2));
/// assert_eq!(method.verdict(14), Verdict::Retry);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceConfig<'a, const METHODS: usize = 16, const NAMES: usize = 8> {
    methods: Vec<MethodConfig<'a, NAMES>, METHODS>,
    throttle: Option<Throttle>,
}

impl<'a, const METHODS: usize, const NAMES: usize> ServiceConfig<'a, METHODS, NAMES> {
    /// Returns the config of a method. It is chosen as in gRPC: first the config that names the method, then the config
    /// that names the method's service, then the config with an empty name. Returns `None` if there is none of these.
    #[must_use]
    pub fn method(&self, service: &str, method: &str) -> Option<&MethodConfig<'a, NAMES>> {
        let named = |name: Name<'_>| self.methods.iter().find(|config| config.names.contains(&name));
        named(Name { service, method })
            .or_else(|| named(Name { service, method: "" }))
            .or_else(|| named(Name { service: "", method: "" }))
    }

    /// Returns the method configs, in the order of the document.
    #[must_use]
    pub fn methods(&self) -> &[MethodConfig<'a, NAMES>] {
        &self.methods
    }

    /// Returns the token bucket that all methods share. This is the field `retryThrottling` of the document.
    #[cfg(has_atomic_64)]
    #[must_use]
    pub fn throttling(&self) -> Option<TokenOptions> {
        self.throttle.map(|Throttle { max_tokens, token_ratio }| TokenOptions::Grpc { max_tokens, token_ratio })
    }
}

/// The part of a service config that is for one group of methods.
#[derive(Clone, PartialEq, Debug)]
pub struct MethodConfig<'a, const NAMES: usize = 8> {
    names: Vec<Name<'a>, NAMES>,
    timeout: Option<Duration>,
    policy: Option<MethodPolicy>,
}

impl<'a, const NAMES: usize> MethodConfig<'a, NAMES> {
    /// Returns the names that this config is for. Each name is a pair of a service and a method. An empty method means
    /// every method of the service, and an empty service means every service.
    pub fn names(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names.iter().map(|name| (name.service, name.method))
    }

    /// Returns the timeout of the methods. This is the field `timeout` of the document.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns the policy of the methods. This is the field `retryPolicy` or `hedgingPolicy` of the document. Without a
    /// policy, calls are neither retried nor hedged.
    #[must_use]
    pub const fn policy(&self) -> Option<&MethodPolicy> {
        self.policy.as_ref()
    }

    /// Returns the options `base`, overridden by this config. The config can override the timeout, the number of
    /// attempts, the backup and the backoff.
    ///
    /// If the config has a policy, calls that do not say whether they are idempotent become idempotent, since a policy
    /// states that its methods may be sent again. The timeout of the config replaces the timeout of `base`, and a
    /// call's own timeout replaces both. (gRPC uses the shorter of the config's timeout and the call's own timeout.)
    #[must_use]
    pub fn channel_options(&self, base: &ChannelOptions) -> ChannelOptions {
        let own = self.call_options();
        ChannelOptions {
            timeout: own.timeout.unwrap_or(base.timeout),
            max_retry: own.max_retry.unwrap_or(base.max_retry),
            backup: own.backup.unwrap_or(base.backup),
            max_backups: own.max_backups.unwrap_or(base.max_backups),
            backoff: own.backoff.unwrap_or(base.backoff),
            idempotency: if self.policy.is_some() { own.idempotency } else { base.idempotency },
            ..base.clone()
        }
    }

    /// Returns options for one call of these methods. They override the options of the channel. Use them if one channel
    /// serves several methods.
    #[must_use]
    pub fn call_options(&self) -> CallOptions<'static> {
        let (max_retry, backup, max_backups, backoff) = match self.policy {
            None => (0, BackupDelay::OFF, None, Backoff::OFF),
            Some(MethodPolicy::Retry { max_attempts, backoff, .. }) => {
                (max_attempts.saturating_sub(1), BackupDelay::OFF, None, backoff)
            }
            Some(MethodPolicy::Hedging { max_attempts, delay, .. }) => {
                let extra = max_attempts.saturating_sub(1);
                (extra, BackupDelay::after(delay), Some(extra), Backoff::OFF)
            }
        };
        CallOptions {
            timeout: self.timeout.map(Timeout::after),
            max_retry: Some(max_retry),
            backup: Some(backup),
            max_backups,
            backoff: Some(backoff),
            idempotency: if self.policy.is_some() { Idempotency::Idempotent } else { Idempotency::Unset },
            ..CallOptions::new()
        }
    }

    /// Returns the meaning of a status code for the call ([L8](crate::rules#L8)).
    ///
    /// `OK` is accepted, and a retryable or non-fatal code is retried. Every other code is fatal, as A6 says: the code
    /// ends the call at once, the attempts in flight are abandoned, and the throttle does not count the call
    /// ([`End::Fatal`](crate::outcome::End::Fatal)).
    #[must_use]
    pub fn verdict(&self, code: u8) -> Verdict {
        let again = match &self.policy {
            None => StatusCodes::default(),
            Some(MethodPolicy::Retry { retryable, .. }) => *retryable,
            Some(MethodPolicy::Hedging { non_fatal, .. }) => *non_fatal,
        };
        match code {
            StatusCodes::OK => Verdict::Accept,
            _ if again.contains(code) => Verdict::Retry,
            _ => Verdict::Fatal,
        }
    }
}

/// The rule by which calls of a method are sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MethodPolicy {
    /// `retryPolicy`: another attempt follows a failure.
    Retry {
        /// The largest number of attempts of a call, including the first: 2 to 5.
        max_attempts: u8,
        /// The wait before each retry.
        backoff: Backoff,
        /// The codes that are retried.
        retryable: StatusCodes,
    },
    /// `hedgingPolicy`: another attempt starts if no answer has come after a delay.
    Hedging {
        /// The largest number of attempts of a call, including the first: 2 to 5.
        max_attempts: u8,
        /// The delay from one attempt to the next. Zero sends all attempts at once.
        delay: Duration,
        /// The codes that do not end the call.
        non_fatal: StatusCodes,
    },
}

/// The service and the method that a method config is for. An empty text means any service or any method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name<'a> {
    service: &'a str,
    method: &'a str,
}

/// Without atomics of 64 bits there is no token bucket. But the field `retryThrottling` is checked there too.
#[cfg(not(has_atomic_64))]
type GrpcTokens = Bounded<1, 1_000>;
#[cfg(not(has_atomic_64))]
type GrpcTokenRatio = Decimal<1_000, 1_000_000_000>;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Throttle {
    max_tokens: GrpcTokens,
    token_ratio: GrpcTokenRatio,
}

impl<'de: 'a, 'a, const METHODS: usize, const NAMES: usize> Deserialize<'de> for ServiceConfig<'a, METHODS, NAMES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Document::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'a, const METHODS: usize, const NAMES: usize> TryFrom<Document<'a, METHODS, NAMES>>
    for ServiceConfig<'a, METHODS, NAMES>
{
    type Error = ServiceConfigError<'a>;

    /// Checks a document by the rules of A6.
    fn try_from(document: Document<'a, METHODS, NAMES>) -> Result<Self, Self::Error> {
        let Document(As(root)) = document;
        let root = root.map_err(|value| ServiceConfigError::new("service config", value, AN_OBJECT))?;
        let throttle = object("retryThrottling", root.retry_throttling)?.map(throttle).transpose()?;
        let mut config = Self { methods: Vec::new(), throttle };
        for (index, method) in all("methodConfig", root.method_config)?.into_iter().enumerate() {
            let within = |error: ServiceConfigError<'a>| error.within(index);
            let method = method_config(method).map_err(within)?;
            for (at, name) in method.names.iter().enumerate() {
                let earlier = config.methods.iter().flat_map(|other| &other.names);
                if earlier.chain(method.names.iter().take(at)).any(|other| other == name) {
                    let field = if name.method.is_empty() { "name.service" } else { "name.method" };
                    let text = if name.method.is_empty() { name.service } else { name.method };
                    return Err(within(ServiceConfigError::new(field, Value::Text(text), "named only once")));
                }
            }
            // There is room, since the document holds no more entries than fit.
            let _ = config.methods.push(method);
        }
        Ok(config)
    }
}

fn method_config<'a, const NAMES: usize>(
    method: Method<'a, NAMES>,
) -> Result<MethodConfig<'a, NAMES>, ServiceConfigError<'a>> {
    let mut names = Vec::new();
    for name in all("name", method.name)? {
        let name = Name {
            service: text_or_empty("name.service", name.service)?,
            method: text_or_empty("name.method", name.method)?,
        };
        if name.service.is_empty() && !name.method.is_empty() {
            let value = Value::Text(name.method);
            return Err(ServiceConfigError::new("name.method", value, "absent where there is no service"));
        }
        // There is room, since the document holds no more names than fit.
        let _ = names.push(name);
    }
    let retry = object("retryPolicy", method.retry_policy)?;
    let policy = match (retry, object("hedgingPolicy", method.hedging_policy)?) {
        (None, None) => None,
        (Some(retry), None) => Some(retry_policy(retry)?),
        (None, Some(hedging)) => Some(hedging_policy(hedging)?),
        (Some(_), Some(_)) => {
            return Err(ServiceConfigError::new("hedgingPolicy", Value::Other, "absent where there is a retryPolicy"));
        }
    };
    Ok(MethodConfig { names, timeout: time_limit("timeout", method.timeout)?.map(Micros::to_duration), policy })
}

fn retry_policy(retry: Retry<'_>) -> Result<MethodPolicy, ServiceConfigError<'_>> {
    let max_attempts = max_attempts("retryPolicy.maxAttempts", retry.max_attempts)?;
    let initial = positive("retryPolicy.initialBackoff", retry.initial_backoff)?;
    let max = positive("retryPolicy.maxBackoff", retry.max_backoff)?;
    let multiplier = match retry.backoff_multiplier {
        Value::Number(multiplier) if multiplier > 0.0 => multiplier,
        value => return Err(ServiceConfigError::new("retryPolicy.backoffMultiplier", value, "a number above 0")),
    };
    let retryable = status_codes("retryPolicy.retryableStatusCodes", retry.retryable_status_codes)?;
    if retryable.is_empty() {
        return Err(ServiceConfigError::new(
            "retryPolicy.retryableStatusCodes",
            Value::Missing,
            "at least one status code",
        ));
    }
    // Waits only grow. So if the initial wait is above the maximum, every wait is the maximum.
    let backoff = Backoff::exponential_within(initial, growth(multiplier), max);
    Ok(MethodPolicy::Retry { max_attempts, backoff, retryable })
}

fn hedging_policy(hedging: Hedging<'_>) -> Result<MethodPolicy, ServiceConfigError<'_>> {
    Ok(MethodPolicy::Hedging {
        max_attempts: max_attempts("hedgingPolicy.maxAttempts", hedging.max_attempts)?,
        delay: duration("hedgingPolicy.hedgingDelay", hedging.hedging_delay)?.unwrap_or_default().into(),
        non_fatal: status_codes("hedgingPolicy.nonFatalStatusCodes", hedging.non_fatal_status_codes)?,
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn throttle(throttling: Throttling<'_>) -> Result<Throttle, ServiceConfigError<'_>> {
    let max_tokens = match throttling.max_tokens {
        Value::Number(tokens) if is_whole(tokens) => GrpcTokens::new(tokens as u32).ok(),
        _ => None,
    };
    let token_ratio = match throttling.token_ratio {
        // The bucket counts in thousandths, so a ratio below 0.001 would never refill the bucket. A success cannot add
        // more than the bucket holds.
        Value::Number(ratio) => GrpcTokenRatio::new(ratio.min(1_000.0)).ok(),
        _ => None,
    };
    let wrong = ServiceConfigError::new;
    Ok(Throttle {
        max_tokens: max_tokens.ok_or(wrong(
            "retryThrottling.maxTokens",
            throttling.max_tokens,
            "an integer in (0, 1000]",
        ))?,
        token_ratio: token_ratio.ok_or(wrong(
            "retryThrottling.tokenRatio",
            throttling.token_ratio,
            "a number of at least 0.001",
        ))?,
    })
}

const AN_OBJECT: &str = "an object";

/// Returns the object of a field. Returns `None` if the field is missing.
fn object<'a, T>(field: &'static str, object: As<'a, T>) -> Result<Option<T>, ServiceConfigError<'a>> {
    match object.0 {
        Ok(object) => Ok(Some(object)),
        Err(Value::Missing) => Ok(None),
        Err(value) => Err(ServiceConfigError::new(field, value, AN_OBJECT)),
    }
}

/// Returns the items of a list. It is an error if they do not all fit. If the list is missing, returns no items.
fn all<'a, T, const N: usize>(
    field: &'static str,
    list: As<'a, List<'a, T, N>>,
) -> Result<Vec<T, N>, ServiceConfigError<'a>> {
    match list.0 {
        Ok(List { wrong: Some(value), .. }) => Err(ServiceConfigError::new(field, value, "a list of objects")),
        Ok(List { more: true, .. }) => Err(ServiceConfigError::too_many(field, N)),
        Ok(list) => Ok(list.items),
        Err(Value::Missing) => Ok(Vec::new()),
        Err(value) => Err(ServiceConfigError::new(field, value, "a list of objects")),
    }
}

fn text_or_empty<'a>(field: &'static str, value: Value<'a>) -> Result<&'a str, ServiceConfigError<'a>> {
    match value {
        Value::Missing => Ok(""),
        Value::Text(text) => Ok(text),
        Value::Number(_) | Value::Escaped | Value::Other => Err(ServiceConfigError::new(field, value, "text")),
    }
}

/// Reads a number of attempts. As A6 says, a number above 5 counts as 5.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn max_attempts<'a>(field: &'static str, value: Value<'a>) -> Result<u8, ServiceConfigError<'a>> {
    match value {
        Value::Number(attempts) if attempts >= 2.0 && is_whole(attempts) => Ok(attempts.min(5.0) as u8),
        _ => Err(ServiceConfigError::new(field, value, "an integer above 1")),
    }
}

fn duration<'a>(field: &'static str, value: Value<'a>) -> Result<Option<Micros>, ServiceConfigError<'a>> {
    let error = ServiceConfigError::new(field, value, "seconds such as \"1.5s\", at least 0");
    match value {
        Value::Missing => Ok(None),
        Value::Text(text) => text::parse_proto(text).map(Some).ok_or(error),
        Value::Number(_) | Value::Escaped | Value::Other => Err(error),
    }
}

/// Reads a time limit. It must be above 0, since a time limit of 0 leaves no time to send anything
/// ([L2](crate::rules#L2)).
fn time_limit<'a>(field: &'static str, value: Value<'a>) -> Result<Option<Micros>, ServiceConfigError<'a>> {
    match value {
        Value::Missing => Ok(None),
        _ => positive(field, value).map(Some),
    }
}

fn positive<'a>(field: &'static str, value: Value<'a>) -> Result<Micros, ServiceConfigError<'a>> {
    match duration(field, value) {
        Ok(Some(duration)) if duration > Micros::ZERO => Ok(duration),
        _ => Err(ServiceConfigError::new(field, value, "seconds such as \"1.5s\", above 0")),
    }
}

fn status_codes<'a>(field: &'static str, codes: As<'a, Codes<'a>>) -> Result<StatusCodes, ServiceConfigError<'a>> {
    match codes.0 {
        Ok(Codes { set, wrong: None }) => Ok(set),
        Err(Value::Missing) => Ok(StatusCodes::default()),
        Ok(Codes { wrong: Some(value), .. }) | Err(value) => {
            Err(ServiceConfigError::new(field, value, "a list of status codes, as integers or by name"))
        }
    }
}

fn is_whole(number: f64) -> bool {
    number % 1.0 == 0.0
}

/// Returns the multiplier in thousandths, rounded to the nearest thousandth, and at least 1000. Numbers that are too
/// large saturate.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is above 0, and a cast saturates")]
fn growth(multiplier: f64) -> u32 {
    ((multiplier * 1_000.0 + 0.5) as u32).max(1_000)
}

#[cfg(test)]
mod tests;

//! The limits of a channel as a file gives them: [`LimitConfig`].

use core::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{BudgetConfig, RatioConfig, TokenConfig};
use crate::field::named::{OFF, Place, Scalar, refuse};
use crate::field::tagged::Map;
use crate::limit::{LimitOptions, LimitSetting};

/// The limits of a channel that differ from the limits of its preset.
///
/// If a limit is absent, the preset's limit applies. If a limit is `"off"`, there is no such limit. Null is an error,
/// since it could mean either of these two. If a limit is a map, the fields in the map replace the preset's fields, and
/// the preset's other fields stay. If the preset does not have that limit, the other fields have the limit's own
/// defaults. `"off"` in place of the whole map turns all limits off ([B8](crate::rules#B8)).
///
/// ```
/// use hedge_core::config::{LimitConfig, Preset};
///
/// let limits: LimitConfig = serde_json::from_str(r#"{"ratio": {"max_backup_ratio": 0.05}, "budget": "off"}"#)?;
/// let limits = limits.over(Preset::Finagle.limits());
/// assert_eq!(limits.ratio.map(|ratio| (ratio.max_backup_ratio.get(), ratio.burst.get())), Some((0.05, 0)), "the burst is Finagle's");
/// assert!(limits.budget.is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitConfig {
    /// Overrides [`LimitOptions::ratio`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<LimitSetting<RatioConfig>>,
    /// Overrides [`LimitOptions::tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<LimitSetting<TokenConfig>>,
    /// Overrides [`LimitOptions::budget`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<LimitSetting<BudgetConfig>>,
}

impl LimitConfig {
    /// No limits. Without limits, every call may be sent twice while the servers are slow ([B8](crate::rules#B8)).
    pub const NONE: Self =
        Self { ratio: Some(LimitSetting::Off), tokens: Some(LimitSetting::Off), budget: Some(LimitSetting::Off) };

    /// Returns the limits of `preset`, overridden by the fields of this config.
    #[must_use]
    pub fn over(&self, preset: LimitOptions) -> LimitOptions {
        LimitOptions {
            ratio: merged(self.ratio, preset.ratio, RatioConfig::over),
            tokens: merged(self.tokens, preset.tokens, TokenConfig::over),
            budget: merged(self.budget, preset.budget, BudgetConfig::over),
        }
    }

    /// Returns whether this config changes no limit.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn merged<T, L>(setting: Option<LimitSetting<T>>, preset: Option<L>, over: fn(&T, Option<L>) -> L) -> Option<L> {
    match setting {
        None => preset,
        Some(LimitSetting::Off) => None,
        Some(LimitSetting::On(patch)) => Some(over(&patch, preset)),
    }
}

impl<'de> Deserialize<'de> for LimitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedOrOff)
    }
}

struct NamedOrOff;

impl NamedOrOff {
    const fn place(&self) -> Place {
        Place::new(
            "limits",
            "a map with `ratio`, `tokens` or `budget`, or \"off\" for no limit; leave it out for the preset's",
        )
    }
}

impl<'de> Visitor<'de> for NamedOrOff {
    type Value = LimitConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limits: {}", self.place().wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<LimitConfig, E> {
        if text == OFF { Ok(LimitConfig::NONE) } else { Err(E::custom(self.place().refusal(&Scalar::Text(text)))) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitConfig, A::Error> {
        let Named { ratio, tokens, budget } = Named::deserialize(Map { map, field: "limits" })?;
        Ok(LimitConfig { ratio, tokens, budget })
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Named {
    #[serde(deserialize_with = "ratio")]
    ratio: Option<LimitSetting<RatioConfig>>,
    #[serde(deserialize_with = "tokens")]
    tokens: Option<LimitSetting<TokenConfig>>,
    #[serde(deserialize_with = "budget")]
    budget: Option<LimitSetting<BudgetConfig>>,
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LimitSetting<RatioConfig>>, D::Error> {
    LimitSetting::read(deserializer, "limits.ratio").map(Some)
}

fn tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LimitSetting<TokenConfig>>, D::Error> {
    LimitSetting::read(deserializer, "limits.tokens").map(Some)
}

fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LimitSetting<BudgetConfig>>, D::Error> {
    LimitSetting::read(deserializer, "limits.budget").map(Some)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bounded::{Bounded, Decimal, Ratio};
    use std::string::{String, ToString};

    use crate::config::Preset;
    use crate::limit::{BudgetOptions, RatioOptions, TokenOptions};

    fn read(json: &str) -> Result<LimitConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn over(preset: Preset, json: &str) -> LimitOptions {
        read(json).unwrap_or_else(|error| panic!("{json}: {error}")).over(preset.limits())
    }

    #[test]
    fn b8_absent_is_the_presets_and_only_off_is_off() {
        for preset in Preset::ALL {
            let limits = preset.limits();
            assert_eq!(over(preset, "{}"), limits);
            assert_eq!(over(preset, r#""off""#), LimitOptions::NONE);
            let off = |limit: &str| std::format!(r#"{{"{limit}": "off"}}"#);
            assert_eq!(over(preset, &off("ratio")), LimitOptions { ratio: None, ..limits });
            assert_eq!(over(preset, &off("tokens")), LimitOptions { tokens: None, ..limits });
            assert_eq!(over(preset, &off("budget")), LimitOptions { budget: None, ..limits });
        }
        for limit in ["ratio", "tokens", "budget"] {
            let error = read(&std::format!(r#"{{"{limit}": null}}"#)).unwrap_err();
            let wanted = "must be a map of what differs from the preset, or \"off\" for no such limit";
            assert!(error.starts_with(&std::format!("limits.{limit} null: {wanted}")), "{error}");
        }
    }

    #[test]
    fn b8_what_a_limit_does_not_say_is_the_presets() {
        let (finagle, trpc) = (Preset::Finagle.limits(), Preset::Trpc.limits());
        let ratio = finagle.ratio.map(|ratio| RatioOptions { max_backup_ratio: Ratio::of_percent::<5>(), ..ratio });
        let json = r#"{"ratio": {"max_backup_ratio": 0.05}}"#;
        assert_eq!(over(Preset::Finagle, json), LimitOptions { ratio, ..finagle });
        assert_eq!(ratio.map(|ratio| ratio.burst.get()), Some(0));
        let budget = finagle.budget.map(|budget| BudgetOptions { burst: Bounded::of::<5>(), ..budget });
        assert_eq!(over(Preset::Finagle, r#"{"budget": {"burst": 5}}"#), LimitOptions { budget, ..finagle });
        let tokens = Some(TokenOptions::Trpc { max_tokens: Bounded::of::<50>(), token_ratio: Bounded::of::<10>() });
        let json = r#"{"tokens": {"trpc": {"max_tokens": 50}}}"#;
        assert_eq!(over(Preset::Trpc, json), LimitOptions { tokens, ..LimitOptions::NONE });
        assert_eq!(over(Preset::GrpcRetry, json), LimitOptions { tokens, ..LimitOptions::NONE });
        let tokens =
            Some(TokenOptions::Grpc { max_tokens: Bounded::of::<50>(), token_ratio: Decimal::of_thousandths::<100>() });
        let json = r#"{"tokens": {"grpc": {"max_tokens": 50}}}"#;
        assert_eq!(over(Preset::GrpcHedging, json), LimitOptions { tokens, ..LimitOptions::NONE });
        assert_eq!(over(Preset::Brpc, json), LimitOptions { tokens, ..LimitOptions::SAFE });
        // A limit that the preset does not have starts from its own default.
        let ratio = Some(RatioOptions { max_backup_ratio: Ratio::of_percent::<5>(), ..RatioOptions::DEFAULT });
        let expected = LimitOptions { ratio, budget: Some(BudgetOptions::DEFAULT), ..trpc };
        assert_eq!(over(Preset::Trpc, r#"{"ratio": {"max_backup_ratio": 0.05}, "budget": {}}"#), expected);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (json, text) in [
            (r#"{"ration": null}"#, "unknown field `ration`, expected one of `ratio`, `tokens`, `budget`"),
            (r#"{"ratio": {"max": 1}}"#, "unknown field `max`, expected one of `mode`, `max_backup_ratio`"),
            (r#"{"budget": {"max": 1}}"#, "unknown field `max`, expected one of `share`, `burst`"),
            (r#"{"tokens": {"trpc": {"max": 1}}}"#, "unknown field `max`, expected `max_tokens` or `token_ratio`"),
            (r#"{"tokens": {"tprc": {}}}"#, "limits.tokens has no `tprc`: write exactly one of `trpc`, `grpc`"),
            (r#"{"tokens": {"trpc": {}, "grpc": {}}}"#, "limits.tokens has another key `grpc`: write exactly one of"),
            (r#"{"tokens": {}}"#, "limits.tokens is empty: write exactly one of `trpc`, `grpc`"),
            (r#"{"tokens": {"trpc": [50, 5]}}"#, "limits.tokens.trpc (a list): must be a map of its fields"),
            (r#"{"tokens": {"trpc": null}}"#, "limits.tokens.trpc null: must be a map of its fields"),
            (r#"{"tokens": "trpc"}"#, r#"limits.tokens "trpc": must be a map of what differs"#),
            (r#""none""#, r#"limits "none": must be a map with `ratio`, `tokens` or `budget`, or "off""#),
            ("1", "limits 1: must be a map with"),
            ("null", "limits null: must be a map with"),
            ("[]", "limits (a list): must be a map with"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(text), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for json in [
            "{}",
            r#"{"ratio":"off","tokens":"off","budget":"off"}"#,
            r#"{"ratio":{"max_backup_ratio":0.05},"tokens":{"grpc":{"max_tokens":20}}}"#,
            r#"{"tokens":{"trpc":{"max_tokens":20,"token_ratio":2}},"budget":{"share":0.1,"maximum_per_second":7}}"#,
            r#"{"ratio":{"mode":"cached","window_size_seconds":5,"update_interval_seconds":2}}"#,
            r#"{"ratio":{"burst":1,"backup_request_ms":3},"budget":{"burst":2,"minimum_per_second":1}}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
        assert_eq!(
            serde_json::to_string(&LimitConfig::NONE).unwrap(),
            r#"{"ratio":"off","tokens":"off","budget":"off"}"#
        );
    }
}

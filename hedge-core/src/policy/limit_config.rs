//! What a file says of a channel's limits: [`LimitConfig`].

use core::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limit::{BudgetOptions, LimitOptions, RatioOptions, TokenOptions};

/// The limits that differ from the preset's: one that is absent is the preset's, one that is null is off, and `"none"` in
/// place of them all turns all off. What a limit does not say is that limit's own default.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitConfig {
    /// [`LimitOptions::ratio`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Option<RatioOptions>>,
    /// [`LimitOptions::tokens`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Option<TokenOptions>>,
    /// [`LimitOptions::budget`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Option<BudgetOptions>>,
}

impl LimitConfig {
    /// No limit at all: a cluster that is slow is sent every call twice (B8).
    pub const NONE: Self = Self { ratio: Some(None), tokens: Some(None), budget: Some(None) };

    /// The limits of `preset` with what differs.
    #[must_use]
    pub fn over(&self, preset: LimitOptions) -> LimitOptions {
        LimitOptions {
            ratio: self.ratio.unwrap_or(preset.ratio),
            tokens: self.tokens.unwrap_or(preset.tokens),
            budget: self.budget.unwrap_or(preset.budget),
        }
    }

    /// Whether nothing differs.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<'de> Deserialize<'de> for LimitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedOrNone)
    }
}

struct NamedOrNone;

impl<'de> Visitor<'de> for NamedOrNone {
    type Value = LimitConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("limits by name, or \"none\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<LimitConfig, E> {
        if text == "none" { Ok(LimitConfig::NONE) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitConfig, A::Error> {
        let Named { ratio, tokens, budget } = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(LimitConfig { ratio, tokens, budget })
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Named {
    #[serde(deserialize_with = "given")]
    ratio: Option<Option<RatioOptions>>,
    #[serde(deserialize_with = "given")]
    tokens: Option<Option<TokenOptions>>,
    #[serde(deserialize_with = "given")]
    budget: Option<Option<BudgetOptions>>,
}

/// What is there, null included: without this, null would be as if absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    use crate::policy::Preset;

    fn read(json: &str) -> Result<LimitConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn b8_absent_is_the_presets_and_null_is_off() {
        let trpc = Preset::Trpc.limits();
        let over = |json: &str| read(json).map(|limits| limits.over(trpc));
        assert_eq!(over("{}"), Ok(trpc));
        assert_eq!(over(r#"{"tokens": null}"#), Ok(LimitOptions::NONE));
        assert_eq!(over(r#""none""#), Ok(LimitOptions::NONE));
        let ratio = RatioOptions { max_backup_ratio: 0.05, ..RatioOptions::DEFAULT };
        let expected = LimitOptions { ratio: Some(ratio), ..trpc };
        assert_eq!(over(r#"{"ratio": {"max_backup_ratio": 0.05}}"#), Ok(expected));
        let tokens = TokenOptions::Grpc { max_tokens: 10, token_ratio: 0.1 };
        let budget = BudgetOptions { burst: 5, ..BudgetOptions::DEFAULT };
        let expected = LimitOptions { ratio: None, tokens: Some(tokens), budget: Some(budget) };
        let json = r#"{"tokens": {"grpc": {"max_tokens": 10, "token_ratio": 0.1}}, "budget": {"burst": 5}}"#;
        assert_eq!(over(json), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (json, text) in [
            (r#"{"ration": null}"#, "unknown field `ration`, expected one of `ratio`, `tokens`, `budget`"),
            (r#"{"ratio": {"max": 1}}"#, "unknown field `max`"),
            (r#""off""#, r#"string "off", expected limits by name, or "none""#),
            ("1", r#"expected limits by name, or "none""#),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(text), "{json}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let budget = Some(Some(BudgetOptions::DEFAULT));
        for limits in
            [LimitConfig::NONE, LimitConfig::default(), LimitConfig { tokens: Some(None), budget, ratio: None }]
        {
            let json = serde_json::to_string(&limits).unwrap();
            assert_eq!(read(&json), Ok(limits), "{json}");
        }
    }
}

//! What a file says about one limit: [`RatioConfig`], [`TokenConfig`] and [`BudgetConfig`].

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::preset::GRPC_TOKENS;
use crate::field::named::fields;
use crate::limit::{BudgetOptions, RatioMode, RatioOptions, TokenOptions, backup_delay};
use crate::time::Duration;

/// The fields of a [`RatioOptions`] that differ from the preset's, or from the default where the preset has no such limit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(default, deny_unknown_fields)]
pub struct RatioConfig {
    /// [`RatioOptions::mode`]: `"exact"` or `"cached"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "mode")]
    pub mode: Option<RatioMode>,
    /// [`RatioOptions::max_backup_ratio`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "max_backup_ratio")]
    pub max_backup_ratio: Option<f64>,
    /// [`RatioOptions::window_size_seconds`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "window_size_seconds")]
    pub window_size_seconds: Option<u32>,
    /// [`RatioOptions::update_interval_seconds`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "update_interval_seconds")]
    pub update_interval_seconds: Option<u32>,
    /// [`RatioOptions::burst`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "ratio_burst")]
    pub burst: Option<u32>,
    /// [`RatioOptions::backup`] as brpc writes it: in milliseconds, where -1 means that the channel's options give the delay.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "backup_in_range")]
    pub backup_request_ms: Option<i32>,
}

impl RatioConfig {
    pub(super) fn over(&self, preset: Option<RatioOptions>) -> RatioOptions {
        let preset = preset.unwrap_or_default();
        RatioOptions {
            mode: self.mode.unwrap_or(preset.mode),
            max_backup_ratio: self.max_backup_ratio.unwrap_or(preset.max_backup_ratio),
            window_size_seconds: self.window_size_seconds.unwrap_or(preset.window_size_seconds),
            update_interval_seconds: self.update_interval_seconds.unwrap_or(preset.update_interval_seconds),
            burst: self.burst.unwrap_or(preset.burst),
            backup: match self.backup_request_ms {
                None => preset.backup,
                Some(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            },
        }
    }
}

/// The kind of a [`TokenBucket`](crate::limit::TokenBucket), and the fields that differ: from the preset's bucket if it is
/// of the same kind, otherwise from the defaults of the system that defines the kind.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenConfig {
    /// [`TokenOptions::Trpc`]; the defaults are tRPC's 100 and 10.
    Trpc {
        /// How many tokens the bucket holds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trpc_max_tokens")]
        max_tokens: Option<u32>,
        /// How many tokens a failure takes.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trpc_token_ratio")]
        token_ratio: Option<u32>,
    },
    /// [`TokenOptions::Grpc`]; the defaults are 10 and 0.1, as in A6's example.
    Grpc {
        /// How many tokens the bucket holds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grpc_max_tokens")]
        max_tokens: Option<u32>,
        /// How many tokens a success adds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grpc_token_ratio")]
        token_ratio: Option<f64>,
    },
}

impl TokenConfig {
    pub(super) fn over(&self, preset: Option<TokenOptions>) -> TokenOptions {
        match (*self, preset) {
            (
                Self::Trpc { max_tokens, token_ratio },
                Some(TokenOptions::Trpc { max_tokens: most, token_ratio: ratio }),
            ) => {
                TokenOptions::Trpc { max_tokens: max_tokens.unwrap_or(most), token_ratio: token_ratio.unwrap_or(ratio) }
            }
            (
                Self::Grpc { max_tokens, token_ratio },
                Some(TokenOptions::Grpc { max_tokens: most, token_ratio: ratio }),
            ) => {
                TokenOptions::Grpc { max_tokens: max_tokens.unwrap_or(most), token_ratio: token_ratio.unwrap_or(ratio) }
            }
            (Self::Trpc { .. }, _) => self.over(Some(TokenOptions::TRPC)),
            (Self::Grpc { .. }, _) => self.over(Some(GRPC_TOKENS)),
        }
    }
}

/// The fields of a [`BudgetOptions`] that differ from the preset's, or from the default where the preset has no such limit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// [`BudgetOptions::share`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "share")]
    pub share: Option<f64>,
    /// [`BudgetOptions::burst`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "budget_burst")]
    pub burst: Option<u32>,
    /// [`BudgetOptions::minimum_per_second`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "minimum_per_second")]
    pub minimum_per_second: Option<u32>,
    /// [`BudgetOptions::maximum_per_second`]; no preset has one.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "maximum_per_second")]
    pub maximum_per_second: Option<u32>,
}

impl BudgetConfig {
    pub(super) fn over(&self, preset: Option<BudgetOptions>) -> BudgetOptions {
        let preset = preset.unwrap_or_default();
        BudgetOptions {
            share: self.share.unwrap_or(preset.share),
            burst: self.burst.unwrap_or(preset.burst),
            minimum_per_second: self.minimum_per_second.unwrap_or(preset.minimum_per_second),
            maximum_per_second: self.maximum_per_second.or(preset.maximum_per_second),
        }
    }
}

/// The milliseconds of a backup's delay. Their range is checked here, since the limit takes a delay that has none.
fn backup_in_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let millis = backup_request_ms(deserializer)?;
    if let Some(Err(error)) = millis.map(backup_delay) {
        return Err(D::Error::custom(error.of("limits.ratio.")));
    }
    Ok(millis)
}

// These texts state the ranges of the limits. Only the type is checked here; the limits check the ranges.
fields! {
    mode: optional, "limits.ratio.mode", RatioMode, "\"exact\" or \"cached\"";
    max_backup_ratio: optional, "limits.ratio.max_backup_ratio", f64, "a number in (0, 1]";
    window_size_seconds: optional, "limits.ratio.window_size_seconds", u32, "an integer in [1, 3600]";
    update_interval_seconds: optional, "limits.ratio.update_interval_seconds", u32, "an integer in [1, 4294967295]";
    ratio_burst: optional, "limits.ratio.burst", u32, "an integer in [0, 1000000]";
    backup_request_ms: optional, "limits.ratio.backup_request_ms", i32, "an integer in [-1, 2147483647]";
    trpc_max_tokens: optional, "limits.tokens.trpc.max_tokens", u32, "an integer in [1, 1000000]";
    trpc_token_ratio: optional, "limits.tokens.trpc.token_ratio", u32, "an integer in [1, 1000000]";
    grpc_max_tokens: optional, "limits.tokens.grpc.max_tokens", u32, "an integer in [1, 1000]";
    grpc_token_ratio: optional, "limits.tokens.grpc.token_ratio", f64, "a number in [0.001, 1000]";
    share: optional, "limits.budget.share", f64, "a number in [0, 10]";
    budget_burst: optional, "limits.budget.burst", u32, "an integer in [2, 16000]";
    minimum_per_second: optional, "limits.budget.minimum_per_second", u32, "an integer in [0, 1000]";
    maximum_per_second: optional, "limits.budget.maximum_per_second", u32, "an integer in [1, 4294967295]";
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    use crate::limit::LimitSetting;
    use crate::policy::LimitError;

    fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn b3_what_a_ratio_does_not_say_is_the_presets() {
        let preset = RatioOptions {
            mode: RatioMode::Cached,
            max_backup_ratio: 0.5,
            window_size_seconds: 60,
            update_interval_seconds: 7,
            burst: 3,
            backup: Some(Duration::from_millis(4)),
        };
        let over = |json| read::<RatioConfig>(json).map(|ratio| ratio.over(Some(preset)));
        assert_eq!(over("{}"), Ok(preset));
        for (json, expected) in [
            (r#"{"mode": "exact"}"#, RatioOptions { mode: RatioMode::Exact, ..preset }),
            (r#"{"max_backup_ratio": 0.05}"#, RatioOptions { max_backup_ratio: 0.05, ..preset }),
            (r#"{"window_size_seconds": 9}"#, RatioOptions { window_size_seconds: 9, ..preset }),
            (r#"{"update_interval_seconds": 9}"#, RatioOptions { update_interval_seconds: 9, ..preset }),
            (r#"{"burst": 0}"#, RatioOptions { burst: 0, ..preset }),
            (r#"{"burst": null, "backup_request_ms": -1}"#, RatioOptions { backup: None, ..preset }),
        ] {
            assert_eq!(over(json), Ok(expected), "{json}");
        }
        let without = read::<RatioConfig>(r#"{"burst": 0}"#).map(|ratio| ratio.over(None));
        assert_eq!(without, Ok(RatioOptions { burst: 0, ..RatioOptions::DEFAULT }));
    }

    #[test]
    fn b4_what_tokens_do_not_say_is_the_presets_of_their_kind_or_their_systems_default() {
        let trpc = Some(TokenOptions::Trpc { max_tokens: 70, token_ratio: 7 });
        let grpc = Some(TokenOptions::Grpc { max_tokens: 30, token_ratio: 0.3 });
        for (json, preset, expected) in [
            ("trpc {}", trpc, TokenOptions::Trpc { max_tokens: 70, token_ratio: 7 }),
            ("trpc {}", grpc, TokenOptions::Trpc { max_tokens: 100, token_ratio: 10 }),
            (r#"trpc {"max_tokens": 50}"#, trpc, TokenOptions::Trpc { max_tokens: 50, token_ratio: 7 }),
            (r#"trpc {"max_tokens": 50}"#, None, TokenOptions::Trpc { max_tokens: 50, token_ratio: 10 }),
            (r#"trpc {"token_ratio": 5}"#, trpc, TokenOptions::Trpc { max_tokens: 70, token_ratio: 5 }),
            ("grpc {}", grpc, TokenOptions::Grpc { max_tokens: 30, token_ratio: 0.3 }),
            ("grpc {}", trpc, TokenOptions::Grpc { max_tokens: 10, token_ratio: 0.1 }),
            (r#"grpc {"max_tokens": 50}"#, grpc, TokenOptions::Grpc { max_tokens: 50, token_ratio: 0.3 }),
            (r#"grpc {"max_tokens": 50}"#, None, TokenOptions::Grpc { max_tokens: 50, token_ratio: 0.1 }),
            (r#"grpc {"token_ratio": 2}"#, grpc, TokenOptions::Grpc { max_tokens: 30, token_ratio: 2.0 }),
        ] {
            let (kind, fields) = json.split_once(' ').unwrap();
            let tokens = read::<TokenConfig>(&std::format!(r#"{{"{kind}": {fields}}}"#)).unwrap();
            assert_eq!(tokens.over(preset), expected, "{json} over {preset:?}");
        }
    }

    #[test]
    fn b5_what_a_budget_does_not_say_is_the_presets() {
        let preset = BudgetOptions { share: 0.5, burst: 7, minimum_per_second: 3, maximum_per_second: Some(40) };
        let over = |json| read::<BudgetConfig>(json).map(|budget| budget.over(Some(preset)));
        assert_eq!(over("{}"), Ok(preset));
        for (json, expected) in [
            (r#"{"share": 0}"#, BudgetOptions { share: 0.0, ..preset }),
            (r#"{"burst": 5}"#, BudgetOptions { burst: 5, ..preset }),
            (r#"{"minimum_per_second": 0}"#, BudgetOptions { minimum_per_second: 0, ..preset }),
            (r#"{"maximum_per_second": 1}"#, BudgetOptions { maximum_per_second: Some(1), ..preset }),
        ] {
            assert_eq!(over(json), Ok(expected), "{json}");
        }
        let without = read::<BudgetConfig>(r#"{"burst": 5}"#).map(|budget| budget.over(None));
        assert_eq!(without, Ok(BudgetOptions { burst: 5, ..BudgetOptions::DEFAULT }));
    }

    #[test]
    fn a_limit_is_off_or_what_differs_and_no_list() {
        let read = read::<LimitSetting<BudgetConfig>>;
        assert_eq!(read(r#""none""#), Ok(LimitSetting::Off));
        assert_eq!(read("{}"), Ok(LimitSetting::On(BudgetConfig::default())));
        for (json, shown) in
            [("null", "null"), (r#""off""#, r#""off""#), ("[0.1, 5]", "(a list)"), ("0", "0"), ("false", "false")]
        {
            let error = read(json).unwrap_err();
            let wanted = "must be a map of what differs from the preset, or \"none\" for no such limit";
            assert!(error.starts_with(&std::format!("limit {shown}: {wanted}")), "{json}: {error}");
        }
    }

    #[test]
    fn an_integer_that_does_not_fit_is_named_with_the_range_that_its_limit_has() {
        let ratio = |options: RatioOptions| options.validate().unwrap_err();
        let tokens = |options: TokenOptions| options.validate().unwrap_err();
        let budget = |options: BudgetOptions| options.validate().unwrap_err();
        let (one, two, three) = (RatioOptions::DEFAULT, TokenOptions::TRPC, BudgetOptions::DEFAULT);
        let TokenOptions::Trpc { max_tokens, token_ratio } = two else { panic!("{two:?}") };
        let huge = u32::MAX;
        let check = |read: fn(&str) -> String, error: LimitError| {
            for value in ["4294967296", "-9", "1.5"] {
                let got = read(&std::format!(r#"{{"{}": {value}}}"#, error.field));
                let want = std::format!("{} {value}: must be an integer in {}", error.field, error.range);
                assert!(got.starts_with("limits.") && got.contains(&want), "got {got}\nwant {want}");
            }
        };
        let of_ratio = |json: &str| read::<RatioConfig>(json).unwrap_err();
        check(of_ratio, ratio(RatioOptions { window_size_seconds: huge, ..one }));
        check(of_ratio, ratio(RatioOptions { update_interval_seconds: 0, ..one }));
        check(of_ratio, ratio(RatioOptions { burst: huge, ..one }));
        let milliseconds = backup_delay(-2).unwrap_err();
        let error = of_ratio(r#"{"backup_request_ms": -2}"#);
        assert!(error.starts_with("limits.ratio.backup_request_ms -2: must be in [-1, 2147483647]"), "{error}");
        let error = of_ratio(r#"{"backup_request_ms": 2147483648}"#);
        let want = "limits.ratio.backup_request_ms 2147483648: must be an integer in";
        assert!(error.starts_with(&std::format!("{want} {}", milliseconds.range)), "{error}");
        let of_trpc = |json: &str| read::<TokenConfig>(&std::format!(r#"{{"trpc": {json}}}"#)).unwrap_err();
        check(of_trpc, tokens(TokenOptions::Trpc { max_tokens: 0, token_ratio }));
        check(of_trpc, tokens(TokenOptions::Trpc { max_tokens, token_ratio: 0 }));
        let of_grpc = |json: &str| read::<TokenConfig>(&std::format!(r#"{{"grpc": {json}}}"#)).unwrap_err();
        check(of_grpc, tokens(TokenOptions::Grpc { max_tokens: 0, token_ratio: 0.1 }));
        let of_budget = |json: &str| read::<BudgetConfig>(json).unwrap_err();
        check(of_budget, budget(BudgetOptions { burst: huge, ..three }));
        check(of_budget, budget(BudgetOptions { minimum_per_second: huge, ..three }));
        check(of_budget, budget(BudgetOptions { maximum_per_second: Some(0), ..three }));
        let error = of_ratio(r#"{"burst": "many"}"#);
        assert!(error.starts_with(r#"limits.ratio.burst "many": must be an integer in [0, 1000000]"#), "{error}");
    }
}

//! A single limit as a file gives it: [`RatioConfig`], [`TokenConfig`] and [`BudgetConfig`].

use serde::{Deserialize, Serialize};

use super::preset::GRPC_TOKENS;
use crate::bounded::Ratio;
use crate::field::named::fields;
use crate::limit::{
    BudgetBurst, BudgetMaximum, BudgetMinimum, BudgetOptions, BudgetShare, GrpcTokenRatio, GrpcTokens, RatioBackup,
    RatioBurst, RatioMode, RatioOptions, Seconds, TokenOptions, TrpcTokens,
};

/// The fields of a [`RatioOptions`] that a file sets. All other fields keep the preset's values. If the preset has no
/// such limit, they have the defaults.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(default, deny_unknown_fields)]
pub struct RatioConfig {
    /// Overrides [`RatioOptions::mode`]. The value is `"exact"` or `"cached"`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "mode")]
    pub mode: Option<RatioMode>,
    /// Overrides [`RatioOptions::max_backup_ratio`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "max_backup_ratio")]
    pub max_backup_ratio: Option<Ratio>,
    /// Overrides [`RatioOptions::window`]. The name in a file is that of brpc: `window_size_seconds`.
    #[serde(
        rename = "window_size_seconds",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "window_size_seconds"
    )]
    pub window: Option<Seconds<1_000, 3_600_000>>,
    /// Overrides [`RatioOptions::update_interval`]. The name in a file is that of brpc: `update_interval_seconds`.
    #[serde(
        rename = "update_interval_seconds",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "update_interval_seconds"
    )]
    pub update_interval: Option<Seconds<1_000, 4_294_967_295_000>>,
    /// Overrides [`RatioOptions::burst`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "ratio_burst")]
    pub burst: Option<RatioBurst>,
    /// Overrides [`RatioOptions::backup`]. The name in a file is that of brpc: `backup_request_ms`.
    #[serde(
        rename = "backup_request_ms",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "backup_request_ms"
    )]
    pub backup: Option<RatioBackup>,
}

impl RatioConfig {
    pub(super) fn over(&self, preset: Option<RatioOptions>) -> RatioOptions {
        let preset = preset.unwrap_or_default();
        RatioOptions {
            mode: self.mode.unwrap_or(preset.mode),
            max_backup_ratio: self.max_backup_ratio.unwrap_or(preset.max_backup_ratio),
            window: self.window.map_or(preset.window, Seconds::span),
            update_interval: self.update_interval.map_or(preset.update_interval, Seconds::span),
            burst: self.burst.unwrap_or(preset.burst),
            backup: self.backup.map_or(preset.backup, RatioBackup::delay),
        }
    }
}

/// The kind of a [`TokenBucket`](crate::limit::TokenBucket), and the fields that a file sets. If the preset's bucket is
/// of the same kind, all other fields keep the values of that bucket. Otherwise, they have the defaults of the system
/// that defines the kind.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenConfig {
    /// The kind [`TokenOptions::Trpc`]. The defaults are tRPC's: the bucket holds 100 tokens, and a failure takes 10.
    Trpc {
        /// How many tokens the bucket holds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trpc_max_tokens")]
        max_tokens: Option<TrpcTokens>,
        /// How many tokens a failure takes.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trpc_token_ratio")]
        token_ratio: Option<TrpcTokens>,
    },
    /// The kind [`TokenOptions::Grpc`]. The defaults are the values of the example in gRPC's proposal A6: the bucket
    /// holds 10 tokens, and a success adds 0.1.
    Grpc {
        /// How many tokens the bucket holds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grpc_max_tokens")]
        max_tokens: Option<GrpcTokens>,
        /// How many tokens a success adds.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grpc_token_ratio")]
        token_ratio: Option<GrpcTokenRatio>,
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

/// The fields of a [`BudgetOptions`] that a file sets. All other fields keep the preset's values. If the preset has no
/// such limit, they have the defaults.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Overrides [`BudgetOptions::share`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "share")]
    pub share: Option<BudgetShare>,
    /// Overrides [`BudgetOptions::burst`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "budget_burst")]
    pub burst: Option<BudgetBurst>,
    /// Overrides [`BudgetOptions::minimum_per_second`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "minimum_per_second")]
    pub minimum_per_second: Option<BudgetMinimum>,
    /// Overrides [`BudgetOptions::maximum_per_second`]. No preset has such a maximum.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "maximum_per_second")]
    pub maximum_per_second: Option<BudgetMaximum>,
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

fields! {
    mode: optional, "limits.ratio.mode", RatioMode, "\"exact\" or \"cached\"";
    max_backup_ratio: optional, "limits.ratio.max_backup_ratio", Ratio;
    window_size_seconds: optional, "limits.ratio.window_size_seconds", Seconds<1_000, 3_600_000>;
    update_interval_seconds: optional, "limits.ratio.update_interval_seconds", Seconds<1_000, 4_294_967_295_000>;
    ratio_burst: optional, "limits.ratio.burst", RatioBurst;
    backup_request_ms: optional, "limits.ratio.backup_request_ms", RatioBackup;
    trpc_max_tokens: optional, "limits.tokens.trpc.max_tokens", TrpcTokens;
    trpc_token_ratio: optional, "limits.tokens.trpc.token_ratio", TrpcTokens;
    grpc_max_tokens: optional, "limits.tokens.grpc.max_tokens", GrpcTokens;
    grpc_token_ratio: optional, "limits.tokens.grpc.token_ratio", GrpcTokenRatio;
    share: optional, "limits.budget.share", BudgetShare;
    budget_burst: optional, "limits.budget.burst", BudgetBurst;
    minimum_per_second: optional, "limits.budget.minimum_per_second", BudgetMinimum;
    maximum_per_second: optional, "limits.budget.maximum_per_second", BudgetMaximum;
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::bounded::{Bounded, BoundedSpan, Decimal};
    use std::string::{String, ToString};

    use crate::limit::LimitSetting;
    use crate::time::Duration;

    fn read<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn b3_what_a_ratio_does_not_say_is_the_presets() {
        let preset = RatioOptions {
            mode: RatioMode::Cached,
            max_backup_ratio: Ratio::of_percent::<50>(),
            window: BoundedSpan::of_secs::<60>(),
            update_interval: BoundedSpan::of_secs::<7>(),
            burst: Bounded::of::<3>(),
            backup: Some(Duration::from_millis(4)),
        };
        let over = |json| read::<RatioConfig>(json).map(|ratio| ratio.over(Some(preset)));
        assert_eq!(over("{}"), Ok(preset));
        for (json, expected) in [
            (r#"{"mode": "exact"}"#, RatioOptions { mode: RatioMode::Exact, ..preset }),
            (r#"{"max_backup_ratio": 0.05}"#, RatioOptions { max_backup_ratio: Ratio::of_percent::<5>(), ..preset }),
            (r#"{"window_size_seconds": 9}"#, RatioOptions { window: BoundedSpan::of_secs::<9>(), ..preset }),
            (
                r#"{"update_interval_seconds": 9}"#,
                RatioOptions { update_interval: BoundedSpan::of_secs::<9>(), ..preset },
            ),
            (r#"{"burst": 0}"#, RatioOptions { burst: Bounded::of::<0>(), ..preset }),
            (r#"{"burst": null, "backup_request_ms": -1}"#, RatioOptions { backup: None, ..preset }),
        ] {
            assert_eq!(over(json), Ok(expected), "{json}");
        }
        let without = read::<RatioConfig>(r#"{"burst": 0}"#).map(|ratio| ratio.over(None));
        assert_eq!(without, Ok(RatioOptions { burst: Bounded::of::<0>(), ..RatioOptions::DEFAULT }));
    }

    #[test]
    fn b4_what_tokens_do_not_say_is_the_presets_of_their_kind_or_their_systems_default() {
        let trpc = Some(TokenOptions::Trpc { max_tokens: Bounded::of::<70>(), token_ratio: Bounded::of::<7>() });
        let grpc =
            Some(TokenOptions::Grpc { max_tokens: Bounded::of::<30>(), token_ratio: Decimal::of_thousandths::<300>() });
        for (json, preset, expected) in [
            ("trpc {}", trpc, TokenOptions::Trpc { max_tokens: Bounded::of::<70>(), token_ratio: Bounded::of::<7>() }),
            (
                "trpc {}",
                grpc,
                TokenOptions::Trpc { max_tokens: Bounded::of::<100>(), token_ratio: Bounded::of::<10>() },
            ),
            (
                r#"trpc {"max_tokens": 50}"#,
                trpc,
                TokenOptions::Trpc { max_tokens: Bounded::of::<50>(), token_ratio: Bounded::of::<7>() },
            ),
            (
                r#"trpc {"max_tokens": 50}"#,
                None,
                TokenOptions::Trpc { max_tokens: Bounded::of::<50>(), token_ratio: Bounded::of::<10>() },
            ),
            (
                r#"trpc {"token_ratio": 5}"#,
                trpc,
                TokenOptions::Trpc { max_tokens: Bounded::of::<70>(), token_ratio: Bounded::of::<5>() },
            ),
            (
                "grpc {}",
                grpc,
                TokenOptions::Grpc { max_tokens: Bounded::of::<30>(), token_ratio: Decimal::of_thousandths::<300>() },
            ),
            (
                "grpc {}",
                trpc,
                TokenOptions::Grpc { max_tokens: Bounded::of::<10>(), token_ratio: Decimal::of_thousandths::<100>() },
            ),
            (
                r#"grpc {"max_tokens": 50}"#,
                grpc,
                TokenOptions::Grpc { max_tokens: Bounded::of::<50>(), token_ratio: Decimal::of_thousandths::<300>() },
            ),
            (
                r#"grpc {"max_tokens": 50}"#,
                None,
                TokenOptions::Grpc { max_tokens: Bounded::of::<50>(), token_ratio: Decimal::of_thousandths::<100>() },
            ),
            (
                r#"grpc {"token_ratio": 2}"#,
                grpc,
                TokenOptions::Grpc { max_tokens: Bounded::of::<30>(), token_ratio: Decimal::of_thousandths::<2_000>() },
            ),
        ] {
            let (kind, fields) = json.split_once(' ').unwrap();
            let tokens = read::<TokenConfig>(&std::format!(r#"{{"{kind}": {fields}}}"#)).unwrap();
            assert_eq!(tokens.over(preset), expected, "{json} over {preset:?}");
        }
    }

    #[test]
    fn b5_what_a_budget_does_not_say_is_the_presets() {
        let preset = BudgetOptions {
            share: Decimal::of_thousandths::<500>(),
            burst: Bounded::of::<7>(),
            minimum_per_second: Bounded::of::<3>(),
            maximum_per_second: Some(Bounded::of::<40>()),
        };
        let over = |json| read::<BudgetConfig>(json).map(|budget| budget.over(Some(preset)));
        assert_eq!(over("{}"), Ok(preset));
        for (json, expected) in [
            (r#"{"share": 0}"#, BudgetOptions { share: Decimal::of_thousandths::<0>(), ..preset }),
            (r#"{"burst": 5}"#, BudgetOptions { burst: Bounded::of::<5>(), ..preset }),
            (r#"{"minimum_per_second": 0}"#, BudgetOptions { minimum_per_second: Bounded::of::<0>(), ..preset }),
            (r#"{"maximum_per_second": 1}"#, BudgetOptions { maximum_per_second: Some(Bounded::of::<1>()), ..preset }),
        ] {
            assert_eq!(over(json), Ok(expected), "{json}");
        }
        let without = read::<BudgetConfig>(r#"{"burst": 5}"#).map(|budget| budget.over(None));
        assert_eq!(without, Ok(BudgetOptions { burst: Bounded::of::<5>(), ..BudgetOptions::DEFAULT }));
    }

    #[test]
    fn a_limit_is_off_or_what_differs_and_no_list() {
        let read = read::<LimitSetting<BudgetConfig>>;
        assert_eq!(read(r#""off""#), Ok(LimitSetting::Off));
        assert_eq!(read("{}"), Ok(LimitSetting::On(BudgetConfig::default())));
        for (json, shown) in
            [("null", "null"), (r#""none""#, r#""none""#), ("[0.1, 5]", "(a list)"), ("0", "0"), ("false", "false")]
        {
            let error = read(json).unwrap_err();
            let wanted = "must be a map of what differs from the preset, or \"off\" for no such limit";
            assert!(error.starts_with(&std::format!("limit {shown}: {wanted}")), "{json}: {error}");
        }
    }

    #[test]
    fn a_number_that_a_limit_cannot_have_is_named_with_its_range() {
        type Read = fn(&str) -> String;
        let ratio: Read = |json| read::<RatioConfig>(json).unwrap_err();
        let trpc: Read = |json| read::<TokenConfig>(&std::format!(r#"{{"trpc": {json}}}"#)).unwrap_err();
        let grpc: Read = |json| read::<TokenConfig>(&std::format!(r#"{{"grpc": {json}}}"#)).unwrap_err();
        let budget: Read = |json| read::<BudgetConfig>(json).unwrap_err();
        for (read, limit, field, range, out) in [
            (ratio, "ratio", "window_size_seconds", "[1, 3600]", ["0", "3601"]),
            (ratio, "ratio", "update_interval_seconds", "[1, 4294967295]", ["0", "4294967296"]),
            (ratio, "ratio", "burst", "[0, 1000000]", ["-1", "1000001"]),
            (ratio, "ratio", "backup_request_ms", "[-1, 2147483647]", ["-2", "2147483648"]),
            (trpc, "tokens.trpc", "max_tokens", "[1, 1000000]", ["0", "1000001"]),
            (trpc, "tokens.trpc", "token_ratio", "[1, 1000000]", ["0", "1000001"]),
            (grpc, "tokens.grpc", "max_tokens", "[1, 1000]", ["0", "1001"]),
            (budget, "budget", "burst", "[2, 16000]", ["1", "16001"]),
            (budget, "budget", "minimum_per_second", "[0, 1000]", ["-1", "1001"]),
            (budget, "budget", "maximum_per_second", "[1, 4294967295]", ["0", "4294967296"]),
        ] {
            for value in out.into_iter().chain(["4294967296", "-9", "1.5"]) {
                let got = read(&std::format!(r#"{{"{field}": {value}}}"#));
                let want = std::format!("limits.{limit}.{field} {value}: must be an integer in {range}");
                assert!(got.starts_with(&want), "got {got}\nwant {want}");
            }
        }
        for (read, limit, field, range, out) in [
            (ratio, "ratio", "max_backup_ratio", "(0, 1]", ["0", "1.5"]),
            (grpc, "tokens.grpc", "token_ratio", "[0.001, 1000]", ["0.0009", "1001"]),
            (budget, "budget", "share", "[0, 10]", ["-0.1", "10.5"]),
        ] {
            for value in out {
                let got = read(&std::format!(r#"{{"{field}": {value}}}"#));
                let want = std::format!("limits.{limit}.{field} {value}: must be a number in {range}");
                assert!(got.starts_with(&want), "got {got}\nwant {want}");
            }
        }
        let error = ratio(r#"{"burst": "many"}"#);
        assert!(error.starts_with(r#"limits.ratio.burst "many": must be an integer in [0, 1000000]"#), "{error}");
    }
}

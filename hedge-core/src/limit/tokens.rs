//! A limit that allows extra attempts while calls succeed: [`TokenBucket`] ([B4](crate::rules#B4)).

use crate::atomic::{AtomicU32, Ordering};
use crate::bounded::{Bounded, Decimal};
use crate::outcome::{Denial, End};
use crate::policy::{BackupPolicy, Ended};
use crate::time::Instant;

/// One token. Tokens are counted in thousandths.
const TOKEN: u32 = 1_000;

/// A number of tokens in the options of tRPC's bucket, in \[1, 1000000\].
pub type TrpcTokens = Bounded<1, 1_000_000>;
/// The number of tokens that gRPC's bucket holds, in \[1, 1000\].
pub type GrpcTokens = Bounded<1, 1_000>;
/// The number of tokens that a success adds to gRPC's bucket, in \[0.001, 1000\].
pub type GrpcTokenRatio = Decimal<1_000, 1_000_000_000>;

/// The options of a [`TokenBucket`], either as in tRPC or as in gRPC. Each field has the name and the meaning that it
/// has in that system.
///
/// In a file, this is a map with one key, such as `{"trpc": {"max_tokens": 100, "token_ratio": 10}}`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TokenOptions {
    /// The rule of tRPC's `retry_hedging_limit`: a success adds one token, and a failure takes `token_ratio` tokens.
    /// Extra attempts are allowed while the bucket holds more tokens than half of `max_tokens`, rounded down.
    Trpc {
        /// How many tokens the bucket holds. tRPC's default is 100.
        max_tokens: TrpcTokens,
        /// How many tokens a failure takes. tRPC's default is 10.
        token_ratio: TrpcTokens,
    },
    /// The rule of gRPC's `retryThrottling` (proposal A6): a success adds `token_ratio` tokens, and a failure takes one
    /// token. Extra attempts are allowed while the bucket holds more tokens than half of `max_tokens`.
    Grpc {
        /// How many tokens the bucket holds.
        max_tokens: GrpcTokens,
        /// How many tokens a success adds. Only the first three decimals count.
        token_ratio: GrpcTokenRatio,
    },
}

impl TokenOptions {
    /// The defaults of tRPC.
    pub const TRPC: Self = Self::Trpc { max_tokens: Bounded::of::<100>(), token_ratio: Bounded::of::<10>() };
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self::TRPC
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for TokenOptions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match crate::field::tagged::read(deserializer, "tokens", "a map with one key: `trpc` or `grpc`")? {
            Written::Trpc { max_tokens, token_ratio } => Self::Trpc { max_tokens, token_ratio },
            Written::Grpc { max_tokens, token_ratio } => Self::Grpc { max_tokens, token_ratio },
        })
    }
}

/// The same content as [`TokenOptions`], in the form that serde's derive reads.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Trpc {
        #[serde(deserialize_with = "file::trpc_max_tokens")]
        max_tokens: TrpcTokens,
        #[serde(deserialize_with = "file::trpc_token_ratio")]
        token_ratio: TrpcTokens,
    },
    Grpc {
        #[serde(deserialize_with = "file::grpc_max_tokens")]
        max_tokens: GrpcTokens,
        #[serde(deserialize_with = "file::grpc_token_ratio")]
        token_ratio: GrpcTokenRatio,
    },
}

/// Reads the fields of the options from files.
#[cfg(feature = "serde")]
mod file {
    use super::{GrpcTokenRatio, GrpcTokens, TrpcTokens};
    use crate::field::named::fields;

    fields! {
        trpc_max_tokens: required, "limits.tokens.trpc.max_tokens", TrpcTokens;
        trpc_token_ratio: required, "limits.tokens.trpc.token_ratio", TrpcTokens;
        grpc_max_tokens: required, "limits.tokens.grpc.max_tokens", GrpcTokens;
        grpc_token_ratio: required, "limits.tokens.grpc.token_ratio", GrpcTokenRatio;
    }
}

/// Allows backups and retries while most calls succeed ([B4](crate::rules#B4)).
///
/// The bucket starts full. A call that ends without an accepted result takes tokens once; the number of its attempts
/// does not matter. An accepted call adds tokens. Three kinds of calls do not count, since they say nothing about the
/// servers: calls that ended as [`End::Fatal`], cancelled calls, and calls that found no server. While every call
/// succeeds, nothing is refused, even if the calls are slow. So this bucket does not limit the hedging of a slow
/// cluster.
///
/// Cost: a decision is one load. A call's end is one load while the bucket is full, and otherwise one compare-and-swap.
/// Memory: 20 bytes.
#[derive(Debug)]
pub struct TokenBucket {
    /// The tokens in the bucket, in thousandths. All numbers of this type are in thousandths.
    tokens: AtomicU32,
    max: u32,
    success: u32,
    failure: u32,
    /// Half of the maximum: extra attempts are allowed while the bucket holds more tokens than this number.
    half: u32,
}

impl TokenBucket {
    /// Makes a full bucket.
    #[must_use]
    pub const fn new(options: TokenOptions) -> Self {
        let (max, success, failure, half) = match options {
            TokenOptions::Trpc { max_tokens, token_ratio } => {
                let (most, ratio) = (max_tokens.get(), token_ratio.get());
                (most * TOKEN, TOKEN, ratio * TOKEN, most / 2 * TOKEN)
            }
            TokenOptions::Grpc { max_tokens, token_ratio } => {
                let most = max_tokens.get() * TOKEN;
                (most, thousandths(token_ratio.get()), TOKEN, most / 2)
            }
        };
        Self { tokens: AtomicU32::new(max), max, success, failure, half }
    }

    /// Makes a bucket with other options. It is for a channel whose options change while it runs. The new bucket holds
    /// the same share of its maximum as this bucket. So a full bucket stays full, even if the new bucket is larger or
    /// of the other kind.
    ///
    /// If calls of other threads end during this method, these calls may be missing in the new bucket.
    #[must_use]
    pub fn replaced(&self, options: TokenOptions) -> Self {
        let new = Self::new(options);
        let scaled = (u64::from(self.tokens_milli()) * u64::from(new.max)).checked_div(self.max.into());
        let tokens = scaled.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(new.max);
        Self { tokens: AtomicU32::new(tokens), ..new }
    }

    /// Counts a call that has succeeded: one of its attempts was accepted.
    pub fn succeeded(&self) {
        self.change(|tokens| tokens.saturating_add(self.success).min(self.max));
    }

    /// Counts a call that has failed.
    pub fn failed(&self) {
        self.change(|tokens| tokens.saturating_sub(self.failure));
    }

    /// Returns how many tokens are in the bucket, in thousandths.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }

    fn change(&self, to: impl Fn(u32) -> u32) {
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            // Usually the bucket is full and stays full. Then nothing is written.
            Some(to(tokens)).filter(|changed| *changed != tokens)
        });
    }

    fn allows(&self) -> Result<(), Denial> {
        if self.tokens_milli() > self.half { Ok(()) } else { Err(Denial::Tokens) }
    }
}

impl BackupPolicy for TokenBucket {
    fn may_back_up(&self, _: Instant) -> Result<(), Denial> {
        self.allows()
    }

    fn may_retry(&self, _: Instant) -> Result<(), Denial> {
        self.allows()
    }

    fn ended(&self, call: &Ended<'_>) {
        match call.end {
            End::Accepted => self.succeeded(),
            End::Failed | End::Deadline => self.failed(),
            End::Fatal | End::Cancelled | End::NoServer | End::AllDown | End::AllFull => {}
        }
    }
}

/// Returns the ratio in whole thousandths. For valid options the result is at least 1; with 0, an empty bucket would
/// stay empty. 1e-6 is added first, since the binary form of a ratio such as 0.29 is a little less than 290
/// thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is in [0.001, 1000]")]
const fn thousandths(ratio: f64) -> u32 {
    (ratio * TOKEN as f64 + 1e-6) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    #[cfg(feature = "serde")]
    use std::string::ToString;

    fn trpc(max_tokens: u32, token_ratio: u32) -> TokenOptions {
        let tokens = |number| TrpcTokens::new(number).unwrap();
        TokenOptions::Trpc { max_tokens: tokens(max_tokens), token_ratio: tokens(token_ratio) }
    }

    fn grpc(max_tokens: u32, token_ratio: f64) -> TokenOptions {
        let (max_tokens, token_ratio) = (GrpcTokens::new(max_tokens), GrpcTokenRatio::new(token_ratio));
        TokenOptions::Grpc { max_tokens: max_tokens.unwrap(), token_ratio: token_ratio.unwrap() }
    }

    #[test]
    fn b4_trpcs_bucket_allows_above_half_rounded_down_and_stays_within_its_bounds() {
        let bucket = TokenBucket::new(trpc(7, 3));
        let allowed = || bucket.may_back_up(Instant::ZERO).is_ok() && bucket.may_retry(Instant::ZERO).is_ok();
        bucket.succeeded();
        assert_eq!((bucket.tokens_milli(), allowed()), (7_000, true), "it starts full");
        bucket.failed();
        assert!(allowed(), "4 is above 3");
        bucket.failed();
        assert_eq!((bucket.tokens_milli(), bucket.may_retry(Instant::ZERO)), (1_000, Err(Denial::Tokens)));
        assert_eq!(bucket.may_back_up(Instant::ZERO), Err(Denial::Tokens));
        bucket.failed();
        assert_eq!(bucket.tokens_milli(), 0);
    }

    #[test]
    fn b4_grpcs_bucket_counts_three_decimals() {
        for (ratio, milli) in [(0.1, 100), (0.29, 290), (0.1239, 123), (0.001, 1), (1_000.0, 1_000_000)] {
            assert_eq!(thousandths(ratio), milli, "{ratio}");
        }
        let bucket = TokenBucket::new(grpc(3, 0.5));
        bucket.failed();
        assert!(bucket.allows().is_ok(), "2 is above 1.5");
        bucket.failed();
        bucket.succeeded();
        assert_eq!((bucket.tokens_milli(), bucket.allows()), (1_500, Err(Denial::Tokens)), "not floored");
    }

    #[test]
    fn b4_the_largest_and_the_smallest_bucket_start_full() {
        for options in
            [TokenOptions::default(), trpc(1, 1), trpc(1_000_000, 1_000_000), grpc(1, 0.001), grpc(1_000, 1_000.0)]
        {
            assert!(TokenBucket::new(options).allows().is_ok(), "{options:?}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b4_what_is_out_of_its_range_in_a_file_is_named() {
        for (json, text) in [
            (r#"{"trpc":{"max_tokens":0,"token_ratio":1}}"#, "trpc.max_tokens 0: must be an integer in [1, 1000000]"),
            (r#"{"trpc":{"max_tokens":1,"token_ratio":0}}"#, "trpc.token_ratio 0: must be an integer in [1, 1000000]"),
            (
                r#"{"grpc":{"max_tokens":1001,"token_ratio":1}}"#,
                "grpc.max_tokens 1001: must be an integer in [1, 1000]",
            ),
            (
                r#"{"grpc":{"max_tokens":9,"token_ratio":-0.5}}"#,
                "grpc.token_ratio -0.5: must be a number in [0.001, 1000]",
            ),
        ] {
            let error = serde_json::from_str::<TokenOptions>(json).unwrap_err().to_string();
            assert!(error.starts_with(&std::format!("limits.tokens.{text}")), "{json}: {error}");
        }
    }

    #[test]
    fn b4_the_smallest_ratio_refills_a_bucket() {
        let bucket = TokenBucket::new(grpc(1, 0.001));
        bucket.failed();
        (0..501).for_each(|_| bucket.succeeded());
        assert!(bucket.allows().is_ok(), "0.501 is above a half");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b4_a_file_has_a_map_with_one_key() {
        for (json, options) in [
            (r#"{"trpc":{"max_tokens":50,"token_ratio":5}}"#, trpc(50, 5)),
            (r#"{"grpc":{"max_tokens":50,"token_ratio":0.5}}"#, grpc(50, 0.5)),
        ] {
            assert_eq!(serde_json::from_str::<TokenOptions>(json).unwrap(), options);
            assert_eq!(serde_json::to_string(&options).unwrap(), json);
        }
        for (json, text) in [
            (r#"{"tprc": {}}"#, "tokens has no `tprc`: write exactly one of `trpc`, `grpc`"),
            (r#"{"trpc": {"max_tokens": 50}}"#, "missing field `token_ratio`"),
            (r#"{"trpc": {"max_token": 50}}"#, "unknown field `max_token`, expected `max_tokens` or `token_ratio`"),
            ("[50, 5]", "tokens (a list): must be a map with one key: `trpc` or `grpc`"),
        ] {
            let error = serde_json::from_str::<TokenOptions>(json).unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }
}

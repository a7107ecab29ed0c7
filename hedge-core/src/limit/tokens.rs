//! Extra attempts while calls succeed: [`TokenBucket`] ([B4](crate::rules#B4)).

use crate::atomic::{AtomicU32, Ordering};
use crate::outcome::{Denial, End};
use crate::policy::{BackupPolicy, Ended, LimitError};
use crate::time::Instant;

/// Tokens are counted in thousandths.
const TOKEN: u32 = 1_000;
/// The most that tRPC's bucket holds here.
const MOST_TOKENS: u32 = 1_000_000;

/// The options of a [`TokenBucket`], in the terms of the system that defines them.
///
/// In a file: a map with one key, such as `{"trpc": {"max_tokens": 100, "token_ratio": 10}}`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TokenOptions {
    /// tRPC's `retry_hedging_limit`: a success adds one token, and a failure takes `token_ratio` tokens. Extra attempts are
    /// allowed while there are more than half of `max_tokens`, rounded down.
    Trpc {
        /// How many tokens the bucket holds, in \[1, 1000000\]. tRPC's default is 100.
        max_tokens: u32,
        /// How many tokens a failure takes, in \[1, 1000000\]. tRPC's default is 10.
        token_ratio: u32,
    },
    /// gRPC's `retryThrottling` (A6): a success adds `token_ratio` tokens, and a failure takes one. Extra attempts are
    /// allowed while there are more than half of `max_tokens`.
    Grpc {
        /// How many tokens the bucket holds, in \[1, 1000\].
        max_tokens: u32,
        /// How many tokens a success adds, in \[0.001, 1000\]; decimals from the fourth on are ignored.
        token_ratio: f64,
    },
}

impl TokenOptions {
    /// tRPC's defaults.
    pub const TRPC: Self = Self::Trpc { max_tokens: 100, token_ratio: 10 };

    /// Checks that each option is in its range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<(), LimitError> {
        match *self {
            Self::Trpc { max_tokens, .. } if max_tokens < 1 || max_tokens > MOST_TOKENS => {
                Err(LimitError::new("max_tokens", max_tokens as f64, "[1, 1000000]"))
            }
            Self::Trpc { token_ratio, .. } if token_ratio < 1 || token_ratio > MOST_TOKENS => {
                Err(LimitError::new("token_ratio", token_ratio as f64, "[1, 1000000]"))
            }
            Self::Grpc { max_tokens, .. } if max_tokens < 1 || max_tokens > 1_000 => {
                Err(LimitError::new("max_tokens", max_tokens as f64, "[1, 1000]"))
            }
            Self::Grpc { token_ratio, .. } if !(0.001 <= token_ratio && token_ratio <= 1_000.0) => {
                Err(LimitError::new("token_ratio", token_ratio, "[0.001, 1000]"))
            }
            _ => Ok(()),
        }
    }
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

/// [`TokenOptions`] as serde's derive reads them.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Trpc { max_tokens: u32, token_ratio: u32 },
    Grpc { max_tokens: u32, token_ratio: f64 },
}

/// Allows backups and retries while most calls succeed ([B4](crate::rules#B4)).
///
/// The bucket starts full. A call that ends without an accepted result takes tokens, once, however many attempts it made. A
/// call that is accepted adds some. Calls that say nothing about the servers do not count: a refusal for good
/// ([`End::Fatal`]), a cancel, and a call that found no server. While every call succeeds, however slowly, nothing is
/// refused. So the bucket does not protect a slow cluster from being hedged.
///
/// Cost: a decision is one load, a call's end one compare-and-swap, or a load while the bucket is full. 20 bytes.
#[derive(Debug)]
pub struct TokenBucket {
    /// In thousandths, as all numbers here.
    tokens: AtomicU32,
    max: u32,
    success: u32,
    failure: u32,
    /// Extra attempts need more than this.
    half: u32,
}

impl TokenBucket {
    /// A full bucket.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: TokenOptions) -> Result<Self, LimitError> {
        options.validate()?;
        let (max, success, failure, half) = match options {
            TokenOptions::Trpc { max_tokens, token_ratio } => {
                (max_tokens * TOKEN, TOKEN, token_ratio * TOKEN, max_tokens / 2 * TOKEN)
            }
            TokenOptions::Grpc { max_tokens, token_ratio } => {
                (max_tokens * TOKEN, thousandths(token_ratio), TOKEN, max_tokens * TOKEN / 2)
            }
        };
        Ok(Self { tokens: AtomicU32::new(max), max, success, failure, half })
    }

    /// A bucket with other options that is as full as this one in proportion, for a channel whose options are replaced while
    /// it runs. So a full bucket stays full, also if it is larger now or of the other kind.
    ///
    /// Which calls of other threads end during this call may be missing in the new bucket.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn replaced(&self, options: TokenOptions) -> Result<Self, LimitError> {
        let new = Self::new(options)?;
        let scaled = (u64::from(self.tokens_milli()) * u64::from(new.max)).checked_div(self.max.into());
        let tokens = scaled.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(new.max);
        Ok(Self { tokens: AtomicU32::new(tokens), ..new })
    }

    /// A call has succeeded: an attempt was accepted.
    pub fn succeeded(&self) {
        self.change(|tokens| tokens.saturating_add(self.success).min(self.max));
    }

    /// A call has failed.
    pub fn failed(&self) {
        self.change(|tokens| tokens.saturating_sub(self.failure));
    }

    /// How much is in the bucket, in thousandths of a token.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.tokens.load(Ordering::Relaxed)
    }

    fn change(&self, to: impl Fn(u32) -> u32) {
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            // The usual case is a full bucket, which is not written to.
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

/// The ratio in whole thousandths. It is at least one, since otherwise an empty bucket would stay empty. A ratio such as
/// 0.29, which is a little less in binary, is still 290.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is in [0.001, 1000]")]
const fn thousandths(ratio: f64) -> u32 {
    (ratio * TOKEN as f64 + 1e-6) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn b4_trpcs_bucket_allows_above_half_rounded_down_and_stays_within_its_bounds() {
        let bucket = TokenBucket::new(TokenOptions::Trpc { max_tokens: 7, token_ratio: 3 }).unwrap();
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
        let bucket = TokenBucket::new(TokenOptions::Grpc { max_tokens: 3, token_ratio: 0.5 }).unwrap();
        bucket.failed();
        assert!(bucket.allows().is_ok(), "2 is above 1.5");
        bucket.failed();
        bucket.succeeded();
        assert_eq!((bucket.tokens_milli(), bucket.allows()), (1_500, Err(Denial::Tokens)), "not floored");
    }

    #[test]
    fn b4_options_out_of_range_say_which_and_what() {
        for (options, text) in [
            (TokenOptions::Trpc { max_tokens: 0, token_ratio: 1 }, "max_tokens 0: must be in [1, 1000000]"),
            (TokenOptions::Trpc { max_tokens: 1, token_ratio: 0 }, "token_ratio 0: must be in [1, 1000000]"),
            (TokenOptions::Grpc { max_tokens: 1_001, token_ratio: 1.0 }, "max_tokens 1001: must be in [1, 1000]"),
            (TokenOptions::Grpc { max_tokens: 9, token_ratio: -0.5 }, "token_ratio -0.5: must be in [0.001, 1000]"),
            (TokenOptions::Grpc { max_tokens: 9, token_ratio: 0.0009 }, "token_ratio 0.0009: must be in [0.001, 1000]"),
            (TokenOptions::Grpc { max_tokens: 9, token_ratio: f64::NAN }, "token_ratio NaN: must be in [0.001, 1000]"),
        ] {
            assert_eq!(TokenBucket::new(options).unwrap_err().to_string(), text);
        }
        for options in [
            TokenOptions::default(),
            TokenOptions::Trpc { max_tokens: 1, token_ratio: 1 },
            TokenOptions::Trpc { max_tokens: 1_000_000, token_ratio: 1_000_000 },
            TokenOptions::Grpc { max_tokens: 1, token_ratio: 0.001 },
            TokenOptions::Grpc { max_tokens: 1_000, token_ratio: 1_000.0 },
        ] {
            assert!(TokenBucket::new(options).is_ok(), "{options:?}");
        }
    }

    #[test]
    fn b4_the_smallest_ratio_refills_a_bucket() {
        let bucket = TokenBucket::new(TokenOptions::Grpc { max_tokens: 1, token_ratio: 0.001 }).unwrap();
        bucket.failed();
        (0..501).for_each(|_| bucket.succeeded());
        assert!(bucket.allows().is_ok(), "0.501 is above a half");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b4_a_file_has_a_map_with_one_key() {
        for (json, options) in [
            (r#"{"trpc":{"max_tokens":50,"token_ratio":5}}"#, TokenOptions::Trpc { max_tokens: 50, token_ratio: 5 }),
            (
                r#"{"grpc":{"max_tokens":50,"token_ratio":0.5}}"#,
                TokenOptions::Grpc { max_tokens: 50, token_ratio: 0.5 },
            ),
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

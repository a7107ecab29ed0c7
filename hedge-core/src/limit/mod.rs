//! How much hedging and retrying a channel may do: limits that keep it from making an overload worse ([B3](crate::rules#B3)
//! to [B6](crate::rules#B6), [B8](crate::rules#B8)).
//!
//! A limit is a [`BackupPolicy`]: it says whether a backup or a retry may be sent now, and is told of every call's end.
//! [`RatioLimit`] bounds backups in proportion to completed calls. [`TokenBucket`] stops extra attempts while calls fail.
//! [`Budget`] lets retries and backups draw on one account. They compose as tuples: all must agree, and what one has
//! granted is taken back if a later one refuses. [`Limits`] is the composition that configuration describes
//! ([`LimitOptions`]). By default a channel has it with a [`RatioLimit`] at 10 % and a [`Budget`].
//!
//! Limits are integers in a few atomics: no lock, no allocation, no background task, and floating point only in options.
//!
//! | limit of a channel whose servers are all slow | attempts in `calls` calls over the time `run`, at most |
//! |---|---|
//! | [`RatioLimit`], `Exact` | `calls * (1 + ratio) + burst * ceil(run / window)`; with calls that come steadily, one burst |
//! | [`RatioLimit`], `Cached` | no bound: all backups of one interval may pass |
//! | [`Budget`] | `calls * (1 + share) + burst + minimum * seconds`, with every server failing too |
//! | [`TokenBucket`] | no bound while calls succeed: it counts failures only |

mod budget;
mod counted;
mod grants;
mod limits;
mod ratio;
#[cfg(test)]
mod replaced;
mod savings;
#[cfg(feature = "serde")]
mod setting;
mod tokens;
mod warning;

pub use budget::{Budget, BudgetOptions};
pub use counted::Counted;
pub use limits::{LimitOptions, Limits};
#[cfg(feature = "serde")]
pub(crate) use ratio::backup_request_ms::delay as backup_delay;
pub use ratio::{BUCKETS, RatioLimit, RatioMode, RatioOptions};
#[cfg(feature = "serde")]
pub use setting::LimitSetting;
#[cfg(feature = "serde")]
pub(crate) use setting::NONE;
pub use tokens::{TokenBucket, TokenOptions};
pub use warning::LimitWarning;

#[cfg(doc)]
use crate::policy::BackupPolicy;

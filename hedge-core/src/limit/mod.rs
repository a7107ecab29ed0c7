//! Limits on the backups and retries of a channel. They keep a channel from making an overload worse
//! ([B3](crate::rules#B3) to [B6](crate::rules#B6), [B8](crate::rules#B8)).
//!
//! A limit is a [`BackupPolicy`]: it says whether a backup or a retry may be sent now, and is informed of every call's
//! end. [`RatioLimit`] bounds backups in proportion to completed calls. [`TokenBucket`] stops extra attempts while
//! calls fail. [`Budget`] is one account for retries and backups. Limits are combined as tuples: all of them must
//! agree. If a later limit refuses, the permissions of the earlier limits are taken back. [`Limits`] is a combination
//! of limits that a configuration describes ([`LimitOptions`]). By default a channel has a [`RatioLimit`] at 10 % and a
//! [`Budget`].
//!
//! Limits are integers in a few atomics: no lock, no allocation, no background task. Only options use floating point.
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

pub use budget::{Budget, BudgetBurst, BudgetMaximum, BudgetMinimum, BudgetOptions, BudgetShare};
pub use counted::Counted;
pub use limits::{LimitOptions, Limits};
pub use ratio::{BUCKETS, RatioBurst, RatioLimit, RatioMode, RatioOptions, RatioWindow, UpdateInterval};
#[cfg(feature = "serde")]
pub use ratio::{RatioBackup, Seconds};
#[cfg(feature = "serde")]
pub use setting::LimitSetting;
pub use tokens::{GrpcTokenRatio, GrpcTokens, TokenBucket, TokenOptions, TrpcTokens};

#[cfg(doc)]
use crate::policy::BackupPolicy;

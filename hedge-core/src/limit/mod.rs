//! How much hedging and retrying a channel may do: limits that keep it from making an overload worse (B3 to B6, B8).
//!
//! A limit is a [`BackupPolicy`]: it says whether a backup or a retry may be sent now, and hears of every call's end.
//! [`RatioLimit`] allows so many backups a call that completed, [`TokenBucket`] stops extra attempts while calls fail,
//! [`Budget`] lets retries and backups draw on one account. They compose as tuples: all must agree, and what one has
//! granted is taken back if a later one refuses. [`Limits`] is the composition that configuration describes
//! ([`LimitOptions`]), and what a channel has unless it is told otherwise: [`RatioLimit`] at 10 %, and a [`Budget`].
//!
//! All of it is integers in a few atomics: no lock, no allocation, no task, and no floating point but in the options.
//!
//! | a channel with every server slow sends, in `calls` calls over `run` | at most |
//! |---|---|
//! | [`RatioLimit`], `Exact` | `calls * (1 + ratio) + burst * ceil(run / window)`; with calls that come steadily, one burst |
//! | [`RatioLimit`], `Cached` | no bound: what one interval lets through is let through |
//! | [`Budget`] | `calls * (1 + share) + burst + minimum * seconds`, with every server failing too |
//! | [`TokenBucket`] | no bound while calls succeed: it counts failures only |

mod budget;
mod counted;
mod grants;
mod limits;
mod ratio;
mod savings;
#[cfg(feature = "serde")]
mod setting;
mod tokens;
mod warning;

pub use budget::{Budget, BudgetOptions};
pub use counted::Counted;
pub use limits::{LimitOptions, Limits};
pub use ratio::{BUCKETS, RatioLimit, RatioMode, RatioOptions};
#[cfg(feature = "serde")]
pub use setting::LimitSetting;
#[cfg(feature = "serde")]
pub(crate) use setting::NONE;
pub use tokens::{TokenBucket, TokenOptions};
pub use warning::LimitWarning;

#[cfg(doc)]
use crate::policy::BackupPolicy;

//! Limits backups in proportion to calls: [`RatioLimit`] ([B3](crate::rules#B3)).

use super::grants::Grants;
use super::savings::Savings;
use crate::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::bounded::{Bounded, BoundedSpan, Ratio};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended};
use crate::time::{Duration, Instant, Micros};
use crate::window::{Claim, ScaledInstant, SlidingCount};

/// The ratio 1. Ratios are counted in millionths.
pub(super) const WHOLE: u32 = 1_000_000;

/// The default number of buckets in a [`RatioLimit`]'s window: 16 on a microcontroller, where memory is scarce, and 64
/// elsewhere.
pub const BUCKETS: usize = if cfg!(target_os = "none") { 16 } else { 64 };

/// The largest difference between the clock readings of threads that share a limit: 67 s, in microseconds.
const LATE_US: u64 = 1 << 26;

/// The length of a pause, in windows, after which the limit behaves like a new limit. In a pause no call completes and
/// no backup is allowed.
const REST: u64 = 4;

/// The method by which a [`RatioLimit`] decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RatioMode {
    /// Every permission is checked exactly. The permissions in the last window, including this one, are at most ratio ×
    /// calls completed in the window + burst. The burst is for the cold start. While calls come steadily, the burst can
    /// be used only once. After that, backups are allowed only in proportion to completed calls.
    #[default]
    Exact,
    /// The ratio is computed once in each interval, by the first caller, as in brpc. If the ratio is below the maximum,
    /// every backup is allowed until the next computation. The comparison applies to a maximum of 1 too: no further
    /// backup is allowed once there is one backup for each completed call. Backups between two computations are not
    /// checked, so this mode can exceed the ratio by all backups of one interval. Up to one bucket at the window's
    /// beginning is not counted (0.2 s of 10 s with 64 buckets). In brpc, up to a second at the window's end is not
    /// counted.
    Cached,
}

/// The length of a ratio's window, in \[1 s, 1 h\].
pub type RatioWindow = BoundedSpan<1_000, 3_600_000>;
/// The length of the intervals in which [`RatioMode::Cached`] computes the ratio once. It is from 1 s to 2^32 - 1 s, as
/// in brpc.
pub type UpdateInterval = BoundedSpan<1_000, 4_294_967_295_000>;
/// The number of backups that a ratio limit can save up, in \[0, 1000000\].
pub type RatioBurst = Bounded<0, 1_000_000>;

/// The options of a [`RatioLimit`]. The bounds are the same as in brpc's `RateLimitedBackupPolicyOptions`. In files,
/// the options have brpc's names.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RatioOptions {
    /// The method by which the limit decides. Default `Exact`.
    pub mode: RatioMode,
    /// The largest number of backups per call, rounded down to whole millionths. Default 0.1. The value 1 turns the
    /// mode `Exact` off; the mode `Cached` continues to compare, as in brpc.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::max_backup_ratio"))]
    pub max_backup_ratio: Ratio,
    /// The length of the window. Default 10 s. In files, the name is brpc's `window_size_seconds`, and the unit is
    /// whole seconds.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "window_size_seconds",
            serialize_with = "file::write_seconds",
            deserialize_with = "file::window"
        )
    )]
    pub window: RatioWindow,
    /// How often the mode `Cached` computes the ratio. Default 5 s. An interval above the window is valid but of little
    /// use. An interval above 71 minutes counts as 71 minutes. In files, the name is brpc's `update_interval_seconds`,
    /// and the unit is whole seconds.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "update_interval_seconds",
            serialize_with = "file::write_seconds",
            deserialize_with = "file::update_interval"
        )
    )]
    pub update_interval: UpdateInterval,
    /// How many backups the mode `Exact` has saved up at the start. It never saves up more. Default 10. A saved backup
    /// that was used is available again after 1 / `max_backup_ratio` calls have completed, ten calls at the default.
    /// The whole burst is available again after four windows in which no call has completed and no backup was allowed.
    /// With a burst of 0, no backup is allowed until the calls in a window have earned a whole backup. A client with
    /// few calls per window never earns a backup.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "file::burst"))]
    pub burst: RatioBurst,
    /// The delay of backups. Default `None`: the channel's options give the delay. In files, the name is brpc's
    /// `backup_request_ms`, the unit is whole milliseconds, and -1 means `None`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "backup_request_ms", serialize_with = "file::write_backup", deserialize_with = "file::backup")
    )]
    pub backup: Option<Duration>,
}

impl RatioOptions {
    /// The defaults of brpc, except for the mode.
    pub const DEFAULT: Self = Self {
        mode: RatioMode::Exact,
        max_backup_ratio: Ratio::of_percent::<10>(),
        window: BoundedSpan::of_secs::<10>(),
        update_interval: BoundedSpan::of_secs::<5>(),
        burst: Bounded::of::<10>(),
        backup: None,
    };
}

#[cfg(feature = "serde")]
crate::field::named::names! { RatioMode }

impl Default for RatioOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Bounds backups in proportion to calls, over a sliding window of `N` buckets ([B3](crate::rules#B3)). Retries are not
/// limited.
///
/// A backup counts when it is allowed, and a call counts when it has ended. At the beginning of the window, counts are
/// rounded in the safe direction: `Exact` counts the backups of up to one bucket too many, and the calls of up to one
/// bucket too few. So the bound by ratio and burst is kept over the exact window. With a steady stream of calls,
/// `Exact` allows a little less than the ratio: the share 1 / `N` less, and up to one backup less in each window. If
/// the calls of a window allow 100 backups or more, `Exact` allows at least 95 % of the requested backups with the 64
/// buckets of a host, and at least 90 % with the 16 buckets of a microcontroller. A burst makes up for the difference.
/// `Cached` has no proven bound. It exists for comparisons with brpc.
///
/// # What a client may send while everything is slow
///
/// A client sends at most the ratio, plus the burst once. These are the numbers for one hour with the defaults:
///
/// | calls a second | calls | backups with a burst of 10 | with a burst of 1 |
/// |---|---|---|---|
/// | 0.1 | 360 | 45 | 36 |
/// | 1 | 3,600 | 369 | 360 |
/// | 10 | 36,000 | 3,609 | 3,560 |
///
/// A burst of 10 is large for a client that calls once a second or less and must not add load. Such a client may hedge
/// 21 of its first 120 calls; with a burst of 1 it may hedge 12. A client that calls less often than once in four
/// windows (40 s) has its whole burst again before each call. So it may hedge every call, at most 90 calls in an hour.
/// A longer `window` limits such a client to the ratio.
///
/// # Cost
///
/// A call's end is one compare-and-swap. `Exact` decides with five loads, and with six more if the calls in the window
/// do not allow another backup. `Cached` decides with two loads; in addition, one caller counts the window once in each
/// interval. A permission costs one more addition. Memory: 1152 bytes with the 64 buckets of a host, 384 bytes with the
/// 16 buckets that are the default on a microcontroller, 256 bytes with 8 buckets.
///
/// ```
/// use hedge_core::bounded::Bounded;
/// use hedge_core::limit::{RatioLimit, RatioOptions};
/// use hedge_core::policy::BackupPolicy;
/// use hedge_core::time::Instant;
///
/// let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: Bounded::of::<1>(), ..RatioOptions::DEFAULT });
/// let now = Instant::from_millis(50);
/// assert!(limit.may_back_up(now).is_ok(), "the burst");
/// assert!(limit.may_back_up(now).is_err(), "it is not there again before calls have earned it");
/// (0..10).for_each(|_| limit.completed(now));
/// assert!(limit.may_back_up(now).is_ok(), "one in ten");
/// ```
#[derive(Debug)]
pub struct RatioLimit<const N: usize = BUCKETS> {
    granted: Grants<N>,
    completed: SlidingCount<N>,
    savings: Savings,
    /// The method by which the limit decides. It is `None` if the limit is off.
    mode: Option<RatioMode>,
    max: u32,
    /// The delay of backups. It is [`Micros::MAX`] if the channel's options give the delay.
    delay: Micros,
    cached: Cached,
}

impl<const N: usize> RatioLimit<N> {
    /// Makes a limit that has not counted anything yet.
    // This is inlined, so that the compiler converts a constant ratio into millionths. A microcontroller then needs no
    // floating point.
    #[inline(always)]
    #[must_use]
    pub fn new(options: RatioOptions) -> Self {
        Self::of(options, millionths(options.max_backup_ratio.get()))
    }

    fn of(options: RatioOptions, max: u32) -> Self {
        let count = || SlidingCount::new(options.window);
        Self {
            granted: Grants::new(count()),
            completed: count(),
            savings: Savings::new(options.burst.get()),
            mode: Some(options.mode).filter(|mode| *mode == RatioMode::Cached || max < WHOLE),
            max,
            delay: options.backup.map_or(Micros::MAX, Micros::from),
            cached: Cached::new(options.update_interval.micros()),
        }
    }

    /// Makes a limit with other options that continues from the counts of this limit. This is for a channel whose
    /// options change while it runs.
    ///
    /// If the window has the same length, all counts stay. So a lower ratio refuses more at once, and a higher ratio
    /// allows more at once. If the window's length changes, the counts begin again, with one backup in them. In both
    /// cases the saved backups stay, up to the new burst. So a change never gives a new burst. `Cached` computes the
    /// ratio at its next decision.
    ///
    /// If other threads get permissions or end calls during this method, these changes may be missing in the new limit.
    #[must_use]
    pub fn replaced(&self, options: RatioOptions, now: Instant) -> Self {
        let new = Self::new(options);
        let saved = self.settled(now);
        let limit = if new.completed.window() == self.completed.window() {
            // Calls are copied first: a missing call allows less, while a missing backup would allow more.
            let completed = self.completed.copy();
            Self { granted: self.granted.copy(), completed, ..new }
        } else {
            // Without this grant, the new window would count as idle, so its burst would be full.
            new.granted.begin(now);
            new
        };
        let taken = limit.taken(limit.completed.scaled(now));
        Self { savings: Savings::holding(options.burst.get(), saved, taken), ..limit }
    }

    /// Counts a call that has ended. [`BackupPolicy::ended`] calls this.
    pub fn completed(&self, now: Instant) {
        self.completed.add(now, 1);
    }

    /// Returns how many backups the calls that completed in the window allow, in millionths of a backup.
    #[inline]
    fn earned(&self, at: ScaledInstant) -> u64 {
        self.completed.inside_at(at) * u64::from(self.max)
    }

    /// Returns whether a backup is allowed, and counts it if so. A backup is allowed if the calls in the window allow
    /// one more backup, or if the savings hold at least one backup. `earned` is the number of backups that these calls
    /// allow, in millionths of a backup.
    #[inline]
    fn grant(&self, at: ScaledInstant, earned: u64) -> bool {
        // A returned permission is used first. Otherwise another limit that refuses everything could use up this limit.
        if self.granted.has_returned() && self.grant_returned(at.now(), earned) {
            return true;
        }
        match self.granted.counted().claim(at, WHOLE, |granted| self.most(at, earned, granted)) {
            Some(Claim::Granted) => true,
            Some(Claim::Refused) => false,
            Some(Claim::TooMuch) => {
                self.granted.give_back(at.now());
                false
            }
            None => self.grant_anew(at.now(), earned),
        }
    }

    #[cold]
    fn grant_returned(&self, now: Instant, earned: u64) -> bool {
        self.granted.take_returned(now, |granted| self.most(self.completed.scaled(now), earned, granted))
    }

    #[cold]
    fn grant_anew(&self, now: Instant, earned: u64) -> bool {
        let most = |granted| self.most(self.completed.scaled(now), earned, granted);
        self.granted.counted().claim_anew(now, WHOLE, most)
    }

    /// Returns the upper bound for all backups in a window, in millionths of a backup. `granted` backups are already in
    /// the window. The bound is the number of backups that the window's calls allow. If the calls do not allow one more
    /// backup, the bound is `granted` plus the savings, but not more than the number that the calls allow plus the
    /// burst.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn most(&self, at: ScaledInstant, earned: u64, granted: u64) -> u64 {
        let (there, burst) = (granted * u64::from(WHOLE), self.savings.most());
        if there + u64::from(WHOLE) <= earned || burst == 0 {
            return earned;
        }
        // `full` is read before the permissions are counted. So the count includes a permission that another thread
        // gets at the same time.
        let full = self.savings.full();
        let left = burst.wrapping_sub(self.taken(at).wrapping_sub(full));
        let is_settled = left <= burst && (left >= WHOLE.into() || earned > 0);
        let left = if is_settled { left } else { self.settled(at.now()) };
        (there + left).min(earned + burst)
    }

    /// Updates the savings and returns them. This function handles two rare cases: more was added or taken than the
    /// account can hold, or the limit was idle for so long that the savings are full.
    #[cold]
    fn settled(&self, now: Instant) -> u64 {
        let at = self.completed.scaled(now);
        let full = self.savings.full();
        let taken = self.taken(at);
        if self.is_rested(at) { self.savings.fill(full, taken) } else { self.savings.left(full, taken) }
    }

    /// Returns the number of all permissions since the start, minus the number of backups that completed calls have
    /// added since the start, in millionths of a backup. The result wraps.
    #[inline]
    fn taken(&self, at: ScaledInstant) -> u64 {
        let (granted, completed) = (self.granted.used_at(at), self.completed.ever_at(at));
        granted.wrapping_mul(WHOLE.into()).wrapping_sub(completed.wrapping_mul(self.max.into()))
    }

    /// Returns whether the limit was idle for so long that the past no longer counts. A limit is idle while no call
    /// completes and no backup is allowed.
    fn is_rested(&self, at: ScaledInstant) -> bool {
        self.completed.is_unchanged(at, REST) && self.granted.counted().is_unchanged(at, REST)
    }

    /// Returns whether `Cached` allows backups now. Computes the ratio if that is due.
    fn look_up(&self, now: Instant) -> bool {
        if self.cached.is_due(now) {
            let at = self.completed.scaled(now);
            let (granted, completed) = match self.completed.inside_at(at) {
                0 => (self.granted.counted().ever_at(at), self.completed.ever_at(at)),
                completed => (self.granted.counted().inside_at(at), completed),
            };
            self.cached.is_reached.store(reaches(granted, completed, self.max), Ordering::Relaxed);
        }
        !self.cached.is_reached.load(Ordering::Relaxed)
    }
}

impl<const N: usize> BackupPolicy for RatioLimit<N> {
    fn delay(&self, _: Instant) -> Option<BackupDelay> {
        Some(self.delay).filter(|delay| *delay < Micros::MAX).map(BackupDelay::from)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        // One scaled instant is enough for both counts, since they have the same window and the same number of buckets.
        let at = self.completed.scaled(now);
        let earned = match self.mode {
            None => return Ok(()),
            Some(RatioMode::Exact) => self.earned(at),
            Some(RatioMode::Cached) if self.look_up(now) => u64::MAX,
            Some(RatioMode::Cached) => return Err(Denial::Ratio),
        };
        if self.grant(at, earned) { Ok(()) } else { Err(Denial::Ratio) }
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        if extra == Extra::Backup {
            self.granted.give_back(now);
        }
    }

    fn ended(&self, call: &Ended<'_>) {
        self.completed(call.at);
    }
}

/// The state of the mode `Cached` between two computations of the ratio.
#[derive(Debug)]
struct Cached {
    /// The update interval in microseconds. An interval that does not fit into 32 bits is cut to 71 minutes.
    interval_us: u32,
    /// When the next computation of the ratio is due, in microseconds.
    due: AtomicU64,
    /// Whether the ratio was at or above the maximum at the last computation.
    is_reached: AtomicBool,
}

impl Cached {
    fn new(interval: Micros) -> Self {
        let interval_us = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        Self { interval_us, due: AtomicU64::new(0), is_reached: AtomicBool::new(false) }
    }

    /// Returns whether a computation is due and this caller must do it.
    fn is_due(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::SeqCst);
        let next = (now + Micros::from_micros(self.interval_us.into())).as_micros();
        // If `due` is much later than one interval from now, `due` is from before the clock went back.
        let is_due = due <= now.as_micros() || due.saturating_sub(next) > LATE_US;
        is_due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::SeqCst).is_ok()
    }
}

/// Returns whether granted / completed is at least `max` millionths. If no call has completed, one backup is enough to
/// reach any `max`. The function multiplies instead of dividing, since some targets have no division.
fn reaches(granted: u64, completed: u64, max: u32) -> bool {
    granted > 0 && granted.saturating_mul(WHOLE.into()) >= completed.saturating_mul(max.into())
}

/// Returns the ratio in whole millionths. The ratio is rounded down, so that the limit never allows more than the given
/// ratio. 1e-6 is added first, since the binary form of a ratio such as 0.000017 is a little less than 17 millionths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is in (0, 1]")]
const fn millionths(ratio: f64) -> u32 {
    (ratio * WHOLE as f64 + 1e-6) as u32
}

/// Reads and writes the fields of the options in files, as brpc does.
#[cfg(feature = "serde")]
mod file;
#[cfg(feature = "serde")]
pub use file::{RatioBackup, Seconds};

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    #[cfg(feature = "serde")]
    use std::string::ToString;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn cached(max_backup_ratio: f64, window_s: u64) -> RatioLimit {
        RatioLimit::new(RatioOptions {
            mode: RatioMode::Cached,
            max_backup_ratio: Ratio::new(max_backup_ratio).unwrap(),
            window: RatioWindow::new(Duration::from_secs(window_s)).unwrap(),
            update_interval: BoundedSpan::of_secs::<1>(),
            ..RatioOptions::DEFAULT
        })
    }

    #[test]
    fn b3_exact_grants_the_burst_and_then_in_proportion() {
        let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: Bounded::of::<2>(), ..RatioOptions::DEFAULT });
        let granted = |now| (0..100).filter(|_| limit.may_back_up(now).is_ok()).count();
        assert_eq!(granted(at(0)), 2);
        (0..100).for_each(|_| limit.completed(at(1)));
        assert_eq!(granted(at(2)), 10);
        assert_eq!(granted(at(60_000)), 2, "an idle past is forgotten");
        limit.take_back(Extra::Backup, at(60_000));
        assert_eq!(granted(at(60_000)), 1, "what was taken back can be granted again");
        limit.take_back(Extra::Retry, at(60_000));
        assert_eq!(granted(at(60_000)), 0, "a retry was never counted");
    }

    #[test]
    fn b3_a_ratio_of_one_turns_exact_off() {
        let options =
            RatioOptions { max_backup_ratio: Ratio::WHOLE, burst: Bounded::of::<0>(), ..RatioOptions::DEFAULT };
        let limit: RatioLimit = RatioLimit::new(options);
        assert!((0..20_000).all(|ms| limit.may_back_up(at(ms)).is_ok()));
    }

    #[test]
    fn b3_cached_compares_at_a_ratio_of_one_too() {
        let limit = cached(1.0, 1);
        assert!((0..20).all(|_| limit.may_back_up(at(0)).is_ok()), "nothing was decided at the first look");
        assert_eq!(limit.may_back_up(at(1_200)), Err(Denial::Ratio), "nothing has completed");
        (0..20).for_each(|_| limit.completed(at(1_300)));
        assert_eq!(limit.may_back_up(at(2_500)), Err(Denial::Ratio), "one a call is not below one");
        limit.completed(at(2_600));
        assert!(limit.may_back_up(at(3_800)).is_ok(), "20 of 21");
    }

    #[test]
    fn b3_cached_lets_an_interval_through_and_then_looks() {
        let limit = cached(0.5, 1);
        assert!((0..20).all(|_| limit.may_back_up(at(0)).is_ok()), "nothing was decided at the first look");
        assert_eq!(limit.may_back_up(at(1_200)), Err(Denial::Ratio), "nothing has completed");
        (0..50).for_each(|_| limit.completed(at(1_200)));
        assert_eq!(limit.may_back_up(at(1_300)), Err(Denial::Ratio), "nobody looks before the interval is over");
        assert!(limit.may_back_up(at(2_400)).is_ok(), "20 of 50 over the lifetime, as nothing completed in the window");
    }

    #[test]
    fn b3_cached_counts_the_window_while_anything_completes_in_it() {
        let limit = cached(0.1, 2);
        (0..1_000).for_each(|_| limit.completed(at(0)));
        assert!(limit.may_back_up(at(0)).is_ok());
        (0..10).for_each(|_| limit.completed(at(3_000)));
        assert!((0..5).all(|_| limit.may_back_up(at(3_000)).is_ok()), "none of 10, whatever was before");
        assert_eq!(limit.may_back_up(at(4_000)), Err(Denial::Ratio), "5 of 10");
    }

    #[test]
    fn b3_a_lifetime_ratio_is_all_or_nothing_without_calls() {
        assert!(!reaches(0, 0, 1) && reaches(3, 0, WHOLE) && reaches(u64::MAX, 1, WHOLE));
        assert!(reaches(3, 4, 750_000) && !reaches(3, 4, 750_001));
        assert!(!reaches(0, 9, 0) && reaches(1, 9, 0), "less than a millionth is some until one was granted");
    }

    #[test]
    fn b3_a_ratio_is_never_rounded_up() {
        for (ratio, counted) in [(1.0, WHOLE), (2.0 / 3.0, 666_666), (0.999_999_9, 999_999), (1e-7, 0), (0.1, 100_000)]
        {
            assert_eq!(millionths(ratio), counted, "{ratio}");
        }
        assert!((1..=WHOLE).all(|n| millionths(f64::from(n) / f64::from(WHOLE)) == n), "what is in millionths is kept");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn b3_what_is_out_of_its_range_in_a_file_is_named() {
        for (json, text) in [
            (r#"{"max_backup_ratio": 0}"#, "max_backup_ratio 0: must be a number in (0, 1]"),
            (r#"{"max_backup_ratio": 1.5}"#, "max_backup_ratio 1.5: must be a number in (0, 1]"),
            (r#"{"window_size_seconds": 3601}"#, "window_size_seconds 3601: must be an integer in [1, 3600]"),
            (r#"{"update_interval_seconds": 0}"#, "update_interval_seconds 0: must be an integer in [1, 4294967295]"),
            (r#"{"burst": 1000001}"#, "burst 1000001: must be an integer in [0, 1000000]"),
        ] {
            let error = serde_json::from_str::<RatioOptions>(json).unwrap_err().to_string();
            assert!(error.starts_with(&std::format!("limits.ratio.{text}")), "{json}: {error}");
        }
    }

    #[test]
    fn b1_the_delay_is_the_options_own_or_inherited() {
        let delay = |backup| RatioLimit::<16>::new(RatioOptions { backup, ..RatioOptions::DEFAULT }).delay(at(0));
        assert_eq!(delay(None), None);
        assert_eq!(delay(Some(Duration::ZERO)), Some(BackupDelay::after(Duration::ZERO)));
        assert_eq!(delay(Some(Duration::from_millis(7))), Some(BackupDelay::after(Duration::from_millis(7))));
    }

    #[test]
    fn sizes_are_what_the_docs_state() {
        assert_eq!(
            (size_of::<RatioLimit<64>>(), size_of::<RatioLimit<16>>(), size_of::<RatioLimit<8>>()),
            (1_152, 384, 256)
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_file_writes_the_delay_as_brpc_does() {
        let with = |backup| RatioOptions { backup, ..RatioOptions::DEFAULT };
        for (backup, millis) in [(None, "-1"), (Some(Duration::ZERO), "0"), (Some(Duration::from_millis(7)), "7")] {
            let json = std::format!(r#"{{"backup_request_ms":{millis}}}"#);
            assert_eq!(serde_json::from_str::<RatioOptions>(&json).unwrap(), with(backup));
            let written = serde_json::to_string(&with(backup)).unwrap();
            assert!(written.contains(&json[1..json.len() - 1]), "{written}");
        }
        let error = serde_json::from_str::<RatioOptions>(r#"{"backup_request_ms": -2}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("limits.ratio.backup_request_ms -2: must be an integer in [-1, 2147483647]"),
            "{error}"
        );
        for too_fine_or_long in [Duration::from_micros(1_500), Duration::from_secs(u64::MAX)] {
            assert!(serde_json::to_string(&with(Some(too_fine_or_long))).is_err());
        }
        let window = RatioWindow::new(Duration::from_millis(1_500)).unwrap();
        let error = serde_json::to_string(&RatioOptions { window, ..RatioOptions::DEFAULT }).unwrap_err().to_string();
        assert_eq!(error, "a ratio's window or interval has no form in a file: it must be in whole seconds");
    }
}

//! Backups in proportion to calls: [`RatioLimit`] ([B3](crate::rules#B3)).

use super::LimitWarning;
use super::grants::Grants;
use super::savings::Savings;
use crate::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::outcome::{Denial, Extra};
use crate::policy::{BackupDelay, BackupPolicy, Ended, LimitError};
use crate::time::{Duration, Instant, Micros};
use crate::window::{Claim, ScaledInstant, SlidingCount};

/// Ratios are counted in millionths.
pub(super) const WHOLE: u32 = 1_000_000;

/// How many buckets a [`RatioLimit`]'s window has by default: 16 on a microcontroller, where memory is scarce, and 64
/// elsewhere.
pub const BUCKETS: usize = if cfg!(target_os = "none") { 16 } else { 64 };

/// Threads that share a limit may report their readings of the clock late, but by less than 67 s.
const LATE_US: u64 = 1 << 26;

/// After this many windows without a call or a backup the limit is as new.
const REST: u64 = 4;

/// How a [`RatioLimit`] decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RatioMode {
    /// At every grant, the grants in the trailing window, this one included, are at most ratio × calls completed in it +
    /// burst. The burst is for the cold start: while calls come steadily it is granted once, and after that only what calls
    /// earn.
    #[default]
    Exact,
    /// As brpc does: the first caller in each interval looks the ratio up. If it is below the maximum, every backup is
    /// allowed until the next look. This also holds for a maximum of 1: then one backup for each completed call is too
    /// many. This mode can exceed the ratio by what one interval lets through. Both counts leave out up to a bucket at the
    /// window's beginning (0.2 s of 10 s with 64 buckets); brpc's leave out up to a second at its end.
    Cached,
}

/// The options of a [`RatioLimit`], named and bounded as brpc's `RateLimitedBackupPolicyOptions`.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RatioOptions {
    /// How it decides. Default `Exact`.
    pub mode: RatioMode,
    /// The most backups per call, in (0, 1], rounded down to whole millionths. Default 0.1. 1 turns `Exact` off; `Cached`
    /// goes on comparing, as brpc does.
    pub max_backup_ratio: f64,
    /// The length of the window in seconds, in \[1, 3600\]. Default 10.
    pub window_size_seconds: u32,
    /// How often `Cached` looks the ratio up, in seconds, at least 1. Default 5.
    pub update_interval_seconds: u32,
    /// How many backups `Exact` has saved up for the cold start, and can save up at most, in \[0, 1000000\]. Default 10. A
    /// backup that was granted from it is available again when calls have earned it: after 1 / `max_backup_ratio` calls,
    /// ten at the default. The whole burst is available again after four windows in which no call has completed and no
    /// backup was granted. 0 grants nothing until the calls in a window have earned a whole backup; those of a client that
    /// calls seldom never do.
    pub burst: u32,
    /// The backup's delay. Default `None`: the channel's options give it. Files write it as brpc does: `backup_request_ms`,
    /// in whole milliseconds, and -1 for `None`.
    #[cfg_attr(feature = "serde", serde(rename = "backup_request_ms", with = "backup_request_ms"))]
    pub backup: Option<Duration>,
}

impl RatioOptions {
    /// brpc's defaults, except for the mode.
    pub const DEFAULT: Self = Self {
        mode: RatioMode::Exact,
        max_backup_ratio: 0.1,
        window_size_seconds: 10,
        update_interval_seconds: 5,
        burst: 10,
        backup: None,
    };

    /// Checks that each option is in its range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub const fn validate(&self) -> Result<Option<LimitWarning>, LimitError> {
        let Self { max_backup_ratio, window_size_seconds, update_interval_seconds, burst, .. } = *self;
        if !(0.0 < max_backup_ratio && max_backup_ratio <= 1.0) {
            return Err(LimitError::new("max_backup_ratio", max_backup_ratio, "(0, 1]"));
        }
        if window_size_seconds < 1 || window_size_seconds > 3_600 {
            return Err(LimitError::new("window_size_seconds", window_size_seconds as f64, "[1, 3600]"));
        }
        if update_interval_seconds < 1 {
            return Err(LimitError::new("update_interval_seconds", update_interval_seconds as f64, "[1, 4294967295]"));
        }
        if burst > WHOLE {
            return Err(LimitError::new("burst", burst as f64, "[0, 1000000]"));
        }
        if update_interval_seconds > window_size_seconds {
            let (interval_s, window_s) = (update_interval_seconds, window_size_seconds);
            return Ok(Some(LimitWarning::IntervalAboveWindow { interval_s, window_s }));
        }
        Ok(None)
    }
}

#[cfg(feature = "serde")]
crate::field::named::names! { RatioMode }

/// The delay as files write it: brpc's `backup_request_ms`, where -1 is no delay.
#[cfg(feature = "serde")]
pub(crate) mod backup_request_ms {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use crate::policy::LimitError;
    use crate::time::Duration;

    /// The delay of a number in a file.
    ///
    /// # Errors
    /// A number below -1.
    pub(crate) fn delay(millis: i32) -> Result<Option<Duration>, LimitError> {
        match u64::try_from(millis) {
            Ok(millis) => Ok(Some(Duration::from_millis(millis))),
            Err(_) if millis == -1 => Ok(None),
            Err(_) => Err(LimitError::new("backup_request_ms", millis.into(), "[-1, 2147483647]")),
        }
    }

    pub(crate) fn serialize<S: Serializer>(delay: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = match delay {
            None => Ok(-1),
            Some(delay) if delay.subsec_nanos() % 1_000_000 == 0 => i32::try_from(delay.as_millis()).map_err(|_| ()),
            Some(_) => Err(()),
        };
        let wrong = || ser::Error::custom("a ratio's backup has no form in a file: it must be in whole milliseconds");
        serializer.serialize_i32(millis.map_err(|()| wrong())?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        delay(i32::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Default for RatioOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Bounds backups per call over a sliding window of `N` buckets ([B3](crate::rules#B3)). Retries are not limited.
///
/// A backup counts when it is granted, a call when it has ended. `Exact` counts backups over the window and up to a bucket
/// more, and calls over the window or up to a bucket less, so that the ratio holds over the window itself. Both are
/// forgotten when they are old. So of a steady stream of calls it grants a little less than the ratio: 1 / `N` less, and up
/// to one backup per window less. Where a window earns 100 backups or more, it grants at least 95 % of what is asked for
/// with the 64 buckets of a host, and 90 % with the 16 of a microcontroller. A burst makes up for that. `Cached` has no
/// proven bound; it exists for comparisons with brpc.
///
/// # What a client may send while everything is slow
///
/// The ratio, and the burst once. With the defaults, in an hour:
///
/// | calls a second | calls | backups with a burst of 10 | with `burst: 1` |
/// |---|---|---|---|
/// | 0.1 | 360 | 45 | 36 |
/// | 1 | 3,600 | 369 | 360 |
/// | 10 | 36,000 | 3,609 | 3,560 |
///
/// A burst of 10 is much for a client that calls once a second or less and must not add load: it may hedge 21 of its first
/// 120 calls, and 12 with `burst: 1`. A client that calls less often than once in four windows (40 s) has its whole burst
/// back before each call. It may hedge every call, at most 90 an hour. A longer `window_size_seconds` keeps it to the
/// ratio.
///
/// # Cost
///
/// A call's end is one compare-and-swap. `Exact` decides with five loads, and with six more where the window does not pay
/// for another backup; a grant is one addition more. `Cached` decides with two loads, and a grant is one addition more;
/// once per interval one caller counts. 1152 bytes with the 64 buckets of a host, 384 with the 16 that are the default on a
/// microcontroller, 256 with 8.
///
/// ```
/// use hedge_core::limit::{RatioLimit, RatioOptions};
/// use hedge_core::policy::BackupPolicy;
/// use hedge_core::time::Instant;
///
/// let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: 1, ..RatioOptions::DEFAULT })?;
/// let now = Instant::from_millis(50);
/// assert!(limit.may_back_up(now).is_ok(), "the burst");
/// assert!(limit.may_back_up(now).is_err(), "it is not there again before calls have earned it");
/// (0..10).for_each(|_| limit.completed(now));
/// assert!(limit.may_back_up(now).is_ok(), "one in ten");
/// # Ok::<(), hedge_core::policy::LimitError>(())
/// ```
#[derive(Debug)]
pub struct RatioLimit<const N: usize = BUCKETS> {
    granted: Grants<N>,
    completed: SlidingCount<N>,
    savings: Savings,
    /// `None` if the limit is off.
    mode: Option<RatioMode>,
    max: u32,
    /// The backup's delay; [`Micros::MAX`] if the channel's options give it.
    delay: Micros,
    cached: Cached,
}

impl<const N: usize> RatioLimit<N> {
    /// A limit under which nothing has happened yet.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn new(options: RatioOptions) -> Result<Self, LimitError> {
        options.validate()?;
        let window = Micros::from_secs(options.window_size_seconds.into());
        let count = || SlidingCount::over(window);
        let max = millionths(options.max_backup_ratio);
        Ok(Self {
            granted: Grants::new(count()),
            completed: count(),
            savings: Savings::new(options.burst),
            mode: Some(options.mode).filter(|mode| *mode == RatioMode::Cached || max < WHOLE),
            max,
            delay: options.backup.map_or(Micros::MAX, Micros::from),
            cached: Cached::new(options.update_interval_seconds),
        })
    }

    /// A limit with other options that goes on from here, for a channel whose options are replaced while it runs.
    ///
    /// If the window is as long as before, all that was counted counts: a lower ratio refuses at once what it would have
    /// refused with these counts, and a higher one allows more at once. If the window's length changes, the counts begin
    /// anew, with one backup in them. What was saved up of the burst stays in both cases, up to the new burst, so a change
    /// never gives a fresh burst. `Cached` looks at its next question.
    ///
    /// What other threads are granted, and which calls end, during this call may be missing in the new limit.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn replaced(&self, options: RatioOptions, now: Instant) -> Result<Self, LimitError> {
        let new = Self::new(options)?;
        let saved = self.settled(now);
        let limit = if new.completed.window() == self.completed.window() {
            // Calls first: a call that is missing allows less, and a backup that is missing allows more.
            let completed = self.completed.copy();
            Self { granted: self.granted.copy(), completed, ..new }
        } else {
            // A window in which nothing has happened would be at rest, and its burst full.
            new.granted.begin(now);
            new
        };
        let taken = limit.taken(limit.completed.scaled(now));
        Ok(Self { savings: Savings::holding(options.burst, saved, taken), ..limit })
    }

    /// Counts a call that has ended; [`BackupPolicy::ended`] does this.
    pub fn completed(&self, now: Instant) {
        self.completed.add(now, 1);
    }

    /// How many backups the calls that completed in the window have earned, in millionths.
    #[inline]
    fn earned(&self, at: ScaledInstant) -> u64 {
        self.completed.inside_at(at) * u64::from(self.max)
    }

    /// Grants a backup if the calls in the window, which have earned `earned` millionths, pay for it, or if one is saved
    /// up.
    #[inline]
    fn grant(&self, at: ScaledInstant, earned: u64) -> bool {
        // A returned grant goes first. Otherwise another limit, which refuses all that this one grants, would use this
        // one up.
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

    /// The most that all backups in a window may come to if `granted` are in it already, in millionths: what its calls have
    /// earned, or those in it and what is saved up.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn most(&self, at: ScaledInstant, earned: u64, granted: u64) -> u64 {
        let (there, burst) = (granted * u64::from(WHOLE), self.savings.most());
        if there + u64::from(WHOLE) <= earned || burst == 0 {
            return earned;
        }
        // Read before grants are counted, so that a grant to another thread in between counts.
        let full = self.savings.full();
        let left = burst.wrapping_sub(self.taken(at).wrapping_sub(full));
        let is_settled = left <= burst && (left >= WHOLE.into() || earned > 0);
        let left = if is_settled { left } else { self.settled(at.now()) };
        (there + left).min(earned + burst)
    }

    /// What is saved up in the rare cases: more was paid in or drawn than there is room for, or the limit may be at rest
    /// and the savings full.
    #[cold]
    fn settled(&self, now: Instant) -> u64 {
        let at = self.completed.scaled(now);
        let full = self.savings.full();
        let taken = self.taken(at);
        if self.is_rested(at) { self.savings.fill(full, taken) } else { self.savings.left(full, taken) }
    }

    /// What all grants have ever drawn from the savings, less what all calls have ever paid in, in millionths; wraps.
    #[inline]
    fn taken(&self, at: ScaledInstant) -> u64 {
        let (granted, completed) = (self.granted.used_at(at), self.completed.ever_at(at));
        granted.wrapping_mul(WHOLE.into()).wrapping_sub(completed.wrapping_mul(self.max.into()))
    }

    /// Whether no call has completed, and no backup was granted, for so long that the past is forgotten.
    fn is_rested(&self, at: ScaledInstant) -> bool {
        self.completed.is_unchanged(at, REST) && self.granted.counted().is_unchanged(at, REST)
    }

    /// Whether `Cached` allows backups now.
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
        // It serves both counts, which have the same window and as many buckets.
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

/// What `Cached` remembers between its looks.
#[derive(Debug)]
struct Cached {
    interval_s: u32,
    /// When the next look is due, in microseconds.
    due: AtomicU64,
    /// Whether the ratio was the maximum or more at the last look.
    is_reached: AtomicBool,
}

impl Cached {
    fn new(interval_s: u32) -> Self {
        Self { interval_s, due: AtomicU64::new(0), is_reached: AtomicBool::new(false) }
    }

    /// Whether a look is due and the caller is the first to notice.
    fn is_due(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::SeqCst);
        let next = (now + Micros::from_secs(self.interval_s.into())).as_micros();
        // A look that is due long after the next one would be is from before the clock went back.
        let is_due = due <= now.as_micros() || due.saturating_sub(next) > LATE_US;
        is_due && self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::SeqCst).is_ok()
    }
}

/// Whether granted / completed is at least `max` millionths. If no call completed, any grant at all reaches it. It does not
/// divide, since not every target can.
fn reaches(granted: u64, completed: u64, max: u32) -> bool {
    granted > 0 && granted.saturating_mul(WHOLE.into()) >= completed.saturating_mul(max.into())
}

/// The ratio in whole millionths, rounded down so that no more is granted than was asked for. A ratio such as 0.000017,
/// which is a little less in binary, is still 17.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is in (0, 1]")]
const fn millionths(ratio: f64) -> u32 {
    (ratio * WHOLE as f64 + 1e-6) as u32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn cached(max_backup_ratio: f64, window_size_seconds: u32) -> RatioLimit {
        let options = RatioOptions {
            mode: RatioMode::Cached,
            max_backup_ratio,
            window_size_seconds,
            update_interval_seconds: 1,
            ..RatioOptions::DEFAULT
        };
        RatioLimit::new(options).unwrap()
    }

    #[test]
    fn b3_exact_grants_the_burst_and_then_in_proportion() {
        let limit: RatioLimit = RatioLimit::new(RatioOptions { burst: 2, ..RatioOptions::DEFAULT }).unwrap();
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
        let options = RatioOptions { max_backup_ratio: 1.0, burst: 0, ..RatioOptions::DEFAULT };
        let limit: RatioLimit = RatioLimit::new(options).unwrap();
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

    #[test]
    fn b3_options_out_of_range_say_which_and_what() {
        let options = RatioOptions::DEFAULT;
        for (options, text) in [
            (RatioOptions { max_backup_ratio: 0.0, ..options }, "max_backup_ratio 0: must be in (0, 1]"),
            (RatioOptions { max_backup_ratio: f64::NAN, ..options }, "max_backup_ratio NaN: must be in (0, 1]"),
            (RatioOptions { window_size_seconds: 3_601, ..options }, "window_size_seconds 3601: must be in [1, 3600]"),
            (
                RatioOptions { update_interval_seconds: 0, ..options },
                "update_interval_seconds 0: must be in [1, 4294967295]",
            ),
            (RatioOptions { burst: 1_000_001, ..options }, "burst 1000001: must be in [0, 1000000]"),
        ] {
            assert_eq!(RatioLimit::<16>::new(options).unwrap_err().to_string(), text);
        }
        let warned = RatioOptions { update_interval_seconds: 20, ..options }.validate().unwrap().unwrap();
        assert_eq!(warned.to_string(), "update_interval_seconds 20 is above window_size_seconds 10");
        assert_eq!(options.validate(), Ok(None));
    }

    #[test]
    fn b1_the_delay_is_the_options_own_or_inherited() {
        let delay =
            |backup| RatioLimit::<16>::new(RatioOptions { backup, ..RatioOptions::DEFAULT }).unwrap().delay(at(0));
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
        assert!(error.starts_with("backup_request_ms -2: must be in [-1, 2147483647]"), "{error}");
        for too_fine_or_long in [Duration::from_micros(1_500), Duration::from_secs(u64::MAX)] {
            assert!(serde_json::to_string(&with(Some(too_fine_or_long))).is_err());
        }
    }
}

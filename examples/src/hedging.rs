//! How a run is hedged, and what its policies did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hedge_core::bounded::{Bounded, BoundedSpan, Ratio};
use hedge_core::latency::LatencyWindow;
use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, BackupDelay, BackupPolicy, Ended, ExtraLoad, Shadow, Target};
use hedge_core::time::{Instant, Micros};
use hedge_net::http::Http;
use hedge_net::{Builder, Channel, Denial, Extra, LimitOptions, RatioMode, Runtime};

use crate::chart::round_times;
use crate::cli::{Backup, Options};
use crate::stats::{Decisions, Denials, Lookups};

/// How many delays a shadow tries.
const DELAYS: usize = 5;
/// What an adaptive delay goes by: a run lasts a second or so.
const WINDOW: LatencyWindow = BoundedSpan::of_secs::<2>();

/// When a run's backups are sent.
#[derive(Debug)]
pub(crate) enum Hedging {
    Plain,
    After(Duration),
    Auto(Arc<Auto>),
    Shadow(Arc<Shadow<DELAYS>>),
}

impl Hedging {
    /// As the command line says. A shadow tries the five round delays that follow the plain run's median.
    pub(crate) fn new(options: &Options, median_us: u64) -> Self {
        match options.backup {
            Backup::After(delay) => Self::After(delay),
            Backup::Auto => Self::Auto(Arc::new(Auto::new(options.ratio()))),
            Backup::Shadow => Self::Shadow(Arc::new(Shadow::new(delays_from(median_us).map(Into::into)))),
        }
    }

    /// The run's.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::After(_) => "backup",
            Self::Auto(_) => "auto",
            Self::Shadow(_) => "shadow",
        }
    }

    /// The channel to be, hedged so.
    pub(crate) fn install<R: Runtime>(&self, builder: Builder<R, Http<R>>) -> Builder<R, Http<R>> {
        match self {
            Self::Plain => builder,
            Self::After(delay) => builder.backup(*delay),
            Self::Auto(auto) => builder.backup_policy(Arc::<Auto>::clone(auto)),
            Self::Shadow(shadow) => builder.backup_policy(Arc::<Shadow<DELAYS>>::clone(shadow)),
        }
    }

    /// What it and the channel's limits have done in a run that took so long.
    pub(crate) fn decisions<R: Runtime>(
        &self,
        channel: &Channel<R, Http<R>>,
        limits: LimitOptions,
        took: Duration,
    ) -> Decisions {
        let denials = |extra| -> Denials {
            let of = |reason: Denial| (reason.to_string(), channel.denied(extra, reason));
            Denial::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect()
        };
        Decisions {
            delay_us: match self {
                Self::Plain | Self::Shadow(_) => None,
                Self::After(delay) => u64::try_from(delay.as_micros()).ok(),
                Self::Auto(auto) => auto.median_us(),
            },
            backups_denied: denials(Extra::Backup),
            retries_denied: denials(Extra::Retry),
            ratio_lookups: self.ratio_lookups(limits, took),
            shadow: match self {
                Self::Shadow(shadow) => shadow.counts().collect(),
                _ => Vec::new(),
            },
        }
    }

    /// How often a cached ratio was looked up; `None` if there is none, or nothing to limit.
    fn ratio_lookups(&self, limits: LimitOptions, took: Duration) -> Option<Lookups> {
        let sends = matches!(self, Self::After(_) | Self::Auto(_));
        let cached = limits.ratio.filter(|ratio| sends && ratio.mode == RatioMode::Cached)?;
        let interval_s = cached.update_interval.get().as_secs();
        // The first backup may be asked for as soon as the run begins, and an interval counts from the last look.
        let at_most = 1 + took.as_secs().checked_div(interval_s)?;
        Some(Lookups { interval_s, at_most })
    }
}

/// An adaptive delay, and the delays that it gave.
#[derive(Debug)]
pub(crate) struct Auto {
    delay: AdaptiveDelay,
    given_us: Mutex<Vec<u64>>,
}

impl Auto {
    /// It may send so many backups a call.
    ///
    /// The default's 95th percentile is no target here: the replicas stall on 5 % of the requests, so that it lies now
    /// before the stalls and now behind them. Nor is its window of 10 s: what is known is looked at some 40 times a
    /// window, and the run would be a third over before the first look.
    fn new(ratio: Ratio) -> Self {
        let target = Target::ExtraLoad(ten_thousandths(ratio));
        let options = AdaptiveOptions { target, window: WINDOW, ..AdaptiveOptions::DEFAULT };
        Self { delay: AdaptiveDelay::new(options), given_us: Mutex::default() }
    }

    /// Of the delays that were given; `None` if it was off all the time.
    fn median_us(&self) -> Option<u64> {
        let mut given = self.given_us.lock().unwrap_or_else(PoisonError::into_inner).clone();
        given.sort_unstable();
        given.get(given.len() / 2).copied()
    }
}

impl BackupPolicy for Auto {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        let delay = self.delay.delay(now);
        if let Some(delay) = delay.and_then(BackupDelay::delay) {
            self.given_us.lock().unwrap_or_else(PoisonError::into_inner).push(Micros::from(delay).as_micros());
        }
        delay
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.delay.may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.delay.may_retry(now)
    }

    fn take_back(&self, extra: Extra, now: Instant) {
        self.delay.take_back(extra, now);
    }

    fn ended(&self, call: &Ended<'_>) {
        self.delay.ended(call);
    }
}

/// The nearest number of ten-thousandths, and at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ratio is in (0, 1]")]
fn ten_thousandths(ratio: Ratio) -> ExtraLoad {
    let nearest = (ratio.get() * 10_000.0 + 0.5) as u32;
    // Only 0 is out of its bounds.
    ExtraLoad::new(nearest).unwrap_or(Bounded::of::<1>())
}

/// The round delays that follow.
fn delays_from(median_us: u64) -> [Duration; DELAYS] {
    let mut times = round_times().skip_while(|time| *time < median_us as f64);
    [(); DELAYS].map(|()| Duration::from_secs_f64(times.next().unwrap_or_default() / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn options(line: &str) -> Options {
        Options::try_parse_from(std::iter::once("hedge-examples").chain(line.split_whitespace())).unwrap()
    }

    #[test]
    fn auto_goes_for_the_ratio_that_is_asked_for() {
        for (line, ten_thousandths) in [("", 1_000), ("--max-backup-ratio 0.02", 200), ("--max-backup-ratio 1", 10_000)]
        {
            let options = options(&format!("--backup auto {line}"));
            let Hedging::Auto(auto) = Hedging::new(&options, 0) else { panic!("{options:?}") };
            assert_eq!(
                auto.delay.options().target,
                Target::ExtraLoad(ExtraLoad::new(ten_thousandths).unwrap()),
                "{line}"
            );
        }
    }

    #[test]
    fn b3_a_cached_ratio_is_looked_up_at_the_start_and_once_an_interval() {
        let after = Hedging::After(Duration::ZERO);
        let cached = options("--limit cached").limits().unwrap();
        for (millis, at_most) in [(0, 1), (999, 1), (1_000, 2), (3_700, 4)] {
            let lookups = after.ratio_lookups(cached, Duration::from_millis(millis)).unwrap();
            assert_eq!((lookups.interval_s, lookups.at_most), (1, at_most), "{millis} ms");
        }
        let shadow = Hedging::new(&options("--backup shadow"), 0);
        assert!(Hedging::Plain.ratio_lookups(cached, Duration::MAX).is_none());
        assert!(shadow.ratio_lookups(cached, Duration::MAX).is_none());
        assert!(after.ratio_lookups(LimitOptions::SAFE, Duration::MAX).is_none());
    }

    #[test]
    fn a_shadow_tries_round_delays_from_the_median_on() {
        assert_eq!(delays_from(680), [1, 2, 5, 10, 20].map(Duration::from_millis));
        assert_eq!(delays_from(2_000), [2, 5, 10, 20, 50].map(Duration::from_millis));
        assert_eq!(delays_from(0)[0], Duration::from_micros(1));
        assert_eq!(delays_from(u64::MAX), [Duration::ZERO; DELAYS], "there is an end to it, and no panic");
    }

    #[test]
    fn auto_takes_any_ratio() {
        for (ratio, expected) in [(1.0, 10_000), (0.1, 1_000), (0.012_35, 124), (1e-9, 1)] {
            assert_eq!(ten_thousandths(Ratio::new(ratio).unwrap()).get(), expected);
        }
    }

    #[test]
    fn b7_auto_refuses_what_its_delay_refuses() {
        let auto = Auto::new(Ratio::of_percent::<10>());
        let granted = || (0..1_000).filter(|_| auto.may_back_up(Instant::ZERO).is_ok()).count();
        let burst = granted();
        assert!((1..1_000).contains(&burst), "without a call: {burst}");
        auto.take_back(Extra::Backup, Instant::ZERO);
        assert_eq!((granted(), auto.may_retry(Instant::ZERO)), (1, Ok(())));
    }

    #[test]
    fn auto_notes_what_it_gave() {
        let auto = Auto::new(Ratio::of_percent::<10>());
        assert_eq!((auto.delay(Instant::ZERO), auto.median_us()), (Some(BackupDelay::OFF), None));
        auto.given_us.lock().unwrap().extend([9, 1, 5]);
        assert_eq!(auto.median_us(), Some(5));
    }
}

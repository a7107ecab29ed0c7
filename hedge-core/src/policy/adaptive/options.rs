//! The options of an adaptive backup delay: [`AdaptiveOptions`].

use crate::bounded::{Bounded, SpanRange};
use crate::latency::{LatencyRecorder, LatencyWindow, Quantile};

/// The number of additional requests that backups may cause, in ten-thousandths of the calls, in \[1, 10000\].
pub type ExtraLoad = Bounded<1, 10_000>;

/// The target that determines the delay: a quantile of the latencies, or a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Target {
    /// The delay is this quantile of the latencies.
    Quantile(Quantile),
    /// The delay is the shortest one that sends a backup for at most this many ten-thousandths of the calls. 200 means
    /// 2 % more requests.
    ExtraLoad(#[cfg_attr(feature = "serde", serde(deserialize_with = "file::extra_load"))] ExtraLoad),
}

impl Target {
    /// Returns the quantile that the delay follows. For an extra load of 2 % it is the 98th percentile.
    pub(super) const fn quantile(self) -> Quantile {
        match self {
            Self::Quantile(quantile) => quantile,
            Self::ExtraLoad(ten_thousandths) => Quantile::beyond(ten_thousandths),
        }
    }

    /// Returns how many of a million calls are slower than the quantile that the delay follows.
    pub(super) const fn extra_ppm(self) -> u32 {
        (Quantile::WHOLE - self.quantile().ten_thousandths()) as u32 * 100
    }
}

/// The shortest and the longest adaptive delay, in \[0, 1 h\].
pub type DelayRange = SpanRange<0, 3_600_000>;

/// The options of an [`AdaptiveDelay`](super::AdaptiveDelay).
///
/// ```
/// use hedge_core::bounded::Bounded;
/// use hedge_core::policy::{AdaptiveDelay, AdaptiveOptions, DelayRange, Target};
/// use hedge_core::time::Duration;
///
/// let options = AdaptiveOptions { target: Target::ExtraLoad(Bounded::of::<200>()), ..AdaptiveOptions::DEFAULT };
/// let delay = AdaptiveDelay::new(options);
/// assert_eq!(delay.options().delay.max().get(), Duration::from_secs(1));
/// let error = DelayRange::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error.to_string(), "min 2000 ms: must not be above max, which is 1000 ms");
/// ```
///
/// In a file, there are two fields instead of `delay`: `min` and `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "file::Fields", into = "file::Fields")
)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveOptions {
    /// The target that determines the delay. Default: the 95th percentile, as in Dean and Barroso ("The Tail at Scale",
    /// 2013). This quantile removes the worst part of the tail and costs 5 % more requests.
    pub target: Target,
    /// The shortest and the longest delay. Default 1 ms and 1 s. 1 ms is about the resolution of a timer, and about a
    /// round trip to a near server. So it is normal that no answer has come after a shorter delay. 1 s is twice the
    /// default timeout. So with this timeout, the longest delay is after the deadline, and a call with that delay gets
    /// no backup. If every server is so slow that calls take longer than the longest delay, as many backups are sent as
    /// the target allows.
    pub delay: DelayRange,
    /// How many answers a window must hold before there is a delay. Default 100. Five of 100 answers are beyond the
    /// 95th percentile.
    pub warm_up: Bounded<1, 4_294_967_295>,
    /// How long a latency counts as recent. Default 10 s, the same as [`LatencyRecorder::DEFAULT_WINDOW`].
    pub window: LatencyWindow,
}

impl AdaptiveOptions {
    /// The default options.
    pub const DEFAULT: Self = Self {
        target: Target::Quantile(Quantile::P95),
        delay: SpanRange::of_millis::<1, 1_000>(),
        warm_up: Bounded::of::<100>(),
        window: LatencyRecorder::DEFAULT_WINDOW,
    };
}

impl Default for AdaptiveOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(feature = "serde")]
mod file {
    use super::{AdaptiveOptions, Bounded, ExtraLoad, LatencyWindow, SpanRange, Target};
    use crate::bounded::{BoundedSpan, OutOfRange};
    use crate::field::named::{Named, fields};
    use crate::field::tagged;

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename = "AdaptiveOptions", default, deny_unknown_fields)]
    pub(super) struct Fields {
        #[serde(deserialize_with = "target")]
        target: Target,
        #[serde(deserialize_with = "min")]
        min: BoundedSpan<0, 3_600_000>,
        #[serde(deserialize_with = "max")]
        max: BoundedSpan<0, 3_600_000>,
        #[serde(deserialize_with = "warm_up")]
        warm_up: Bounded<1, 4_294_967_295>,
        #[serde(deserialize_with = "window")]
        window: LatencyWindow,
    }

    impl Default for Fields {
        fn default() -> Self {
            AdaptiveOptions::DEFAULT.into()
        }
    }

    impl From<AdaptiveOptions> for Fields {
        fn from(options: AdaptiveOptions) -> Self {
            let AdaptiveOptions { target, delay, warm_up, window } = options;
            Self { target, min: delay.min(), max: delay.max(), warm_up, window }
        }
    }

    impl TryFrom<Fields> for AdaptiveOptions {
        type Error = Named<OutOfRange>;

        fn try_from(fields: Fields) -> Result<Self, Self::Error> {
            let Fields { target, min, max, warm_up, window } = fields;
            let delay = SpanRange::between(min, max).map_err(|error| Named { field: "adaptive_backup.", error })?;
            Ok(Self { target, delay, warm_up, window })
        }
    }

    fields! {
        extra_load: required, "adaptive_backup.target.extra_load", ExtraLoad;
        min: required, "adaptive_backup.min", BoundedSpan<0, 3_600_000>;
        max: required, "adaptive_backup.max", BoundedSpan<0, 3_600_000>;
        warm_up: required, "adaptive_backup.warm_up", Bounded<1, 4_294_967_295>;
        window: required, "adaptive_backup.window", LatencyWindow;
    }

    fn target<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let wanted = "a map with `quantile` or `extra_load`, in ten-thousandths";
        tagged::read(deserializer, "adaptive_backup.target", wanted)
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn options_are_read_over_the_defaults() {
        let read: AdaptiveOptions = serde_json::from_str(r#"{"target": {"extra_load": 200}, "warm_up": 50}"#).unwrap();
        assert_eq!(
            read,
            AdaptiveOptions {
                target: Target::ExtraLoad(Bounded::of::<200>()),
                warm_up: Bounded::of::<50>(),
                ..AdaptiveOptions::DEFAULT
            }
        );
        let written = serde_json::to_string(&AdaptiveOptions::DEFAULT).unwrap();
        assert_eq!(serde_json::from_str::<AdaptiveOptions>(&written).unwrap(), AdaptiveOptions::DEFAULT);
        let error = serde_json::from_str::<AdaptiveOptions>(r#"{"target": {"quantile": 10001}}"#).unwrap_err();
        assert!(error.to_string().contains("must be in [0, 10000]"), "{error}");
    }
}

//! A time limit: [`Timeout`].

use core::fmt;

use super::{Duration, Instant, Micros};

/// A time limit, or no limit. In a file it is a duration, or `"never"`.
///
/// A limit is stored in whole microseconds, rounded up. It takes 8 bytes. A limit of 584,000 years or more becomes
/// [`Timeout::NEVER`], which is greater than every other limit. `Debug` and `Display` write `20 ms` or `never`.
///
/// ```
/// use hedge_core::time::{Duration, Timeout};
///
/// let timeout: Timeout = Duration::from_millis(20).into();
/// assert_eq!(timeout, Timeout::after(Duration::from_millis(20)));
/// assert!(timeout < Timeout::NEVER);
/// assert_eq!((timeout.limit(), Timeout::NEVER.limit()), (Some(Duration::from_millis(20)), None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(Micros);

impl Timeout {
    /// No limit.
    pub const NEVER: Self = Self(Micros::MAX);
    /// A limit of zero length. This limit is not valid in options.
    pub(crate) const ZERO: Self = Self(Micros::ZERO);

    /// The word that means "no limit" in files.
    #[cfg(feature = "serde")]
    pub(crate) const NEVER_IN_FILES: &str = "never";

    /// Makes a time limit of the length `limit`, rounded up to a whole microsecond.
    #[must_use]
    pub const fn after(limit: Duration) -> Self {
        Self(Micros::from_duration(limit))
    }

    /// Returns the limit as a [`Duration`]. Returns `None` for [`Timeout::NEVER`].
    #[must_use]
    pub const fn limit(self) -> Option<Duration> {
        match self.limit_micros() {
            Some(limit) => Some(limit.to_duration()),
            None => None,
        }
    }

    /// Returns the limit as [`Micros`], the unit of the state machine. Returns `None` for [`Timeout::NEVER`].
    #[must_use]
    pub const fn limit_micros(self) -> Option<Micros> {
        if self.0.as_micros() == Micros::MAX.as_micros() { None } else { Some(self.0) }
    }

    /// Returns the instant at which the limit is reached if the time is counted from `start`. Returns
    /// [`Instant::NEVER`] for [`Timeout::NEVER`].
    #[must_use]
    pub fn ends(self, start: Instant) -> Instant {
        start + self.0
    }
}

impl From<Duration> for Timeout {
    /// Makes the same value as [`Timeout::after`].
    fn from(limit: Duration) -> Self {
        Self::after(limit)
    }
}

impl From<Micros> for Timeout {
    /// Makes a time limit of this length. [`Micros::MAX`] becomes [`Timeout::NEVER`].
    fn from(limit: Micros) -> Self {
        Self(limit)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit_micros() {
            Some(limit) => limit.fmt(f),
            None => f.write_str("never"),
        }
    }
}

impl fmt::Debug for Timeout {
    /// Writes the same text as `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Timeout {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.limit_micros() {
            Some(limit) => limit.format(f),
            None => defmt::write!(f, "never"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timeout {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::text::serialize_or(self.limit_micros(), Self::NEVER_IN_FILES, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timeout {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return crate::field::named::required::read(
                deserializer,
                crate::field::named::Place::new("time limit", crate::field::named::TIME_LIMIT),
            );
        }
        let limit = super::text::deserialize_or(Self::NEVER_IN_FILES, deserializer)?;
        Ok(limit.map_or(Self::NEVER, Self))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn l2_a_limit_is_a_time_or_never() {
        let short = Timeout::after(Duration::from_nanos(1_500));
        assert_eq!(
            (short.limit(), short.ends(Instant::from_micros(5))),
            (Some(Duration::from_micros(2)), Instant::from_micros(7))
        );
        assert_eq!((Timeout::NEVER.limit(), Timeout::NEVER.ends(Instant::from_micros(5))), (None, Instant::NEVER));
        assert_eq!(Timeout::after(Duration::MAX), Timeout::NEVER);
        assert!(Timeout::ZERO < short && short < Timeout::NEVER);
        assert_eq!(std::format!("{short} {short:?} {0} {0:?}", Timeout::NEVER), "2 us 2 us never never");
    }
}

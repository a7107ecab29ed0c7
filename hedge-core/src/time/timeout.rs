//! A time limit: [`Timeout`].

use super::Duration;

/// A time limit, or explicitly none. In a file: a duration, or `"never"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without this the tag takes 64 bits on a microcontroller, as the time in a variant does.
#[repr(usize)]
pub enum Timeout {
    /// At most this long.
    After(Duration),
    /// No limit.
    Never,
}

impl Timeout {
    /// How files write "no limit".
    #[cfg(feature = "serde")]
    pub(crate) const NEVER: &str = "never";
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timeout {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let duration = match *self {
            Self::After(duration) => Some(duration),
            Self::Never => None,
        };
        super::text::serialize_or(duration, Self::NEVER, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timeout {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return crate::field::named::required::read(
                deserializer,
                crate::field::named::Place { field: "time limit", wanted: crate::field::named::TIME_LIMIT },
            );
        }
        let duration = super::text::deserialize_or(Self::NEVER, deserializer)?;
        Ok(duration.map_or(Self::Never, Self::After))
    }
}

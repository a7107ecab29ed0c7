//! Servers' weights, and how a tag states one.

use core::fmt;
use core::num::NonZeroU32;

/// The weight that a server's tag states ([S2](crate::rules#S2)): an integer from 1 to 4294967295, and nothing else,
/// not even a space.
///
/// # Errors
/// What is wrong with it.
///
/// ```
/// use hedge_core::balance::{WeightError, weight_of_tag};
///
/// assert_eq!(weight_of_tag("3").map(|weight| weight.get()), Ok(3));
/// assert_eq!(weight_of_tag("0"), Err(WeightError::Zero));
/// ```
pub fn weight_of_tag(tag: &str) -> Result<NonZeroU32, WeightError> {
    use core::num::IntErrorKind::{Empty, PosOverflow};

    match tag.parse::<u32>() {
        Ok(weight) => NonZeroU32::new(weight).ok_or(WeightError::Zero),
        Err(error) => Err(match error.kind() {
            Empty => WeightError::Missing,
            PosOverflow => WeightError::TooLarge,
            _ => WeightError::NoInteger,
        }),
    }
}

/// What is wrong with a tag that should be a weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WeightError {
    /// The tag is empty.
    Missing,
    /// It is not an integer.
    NoInteger,
    /// It is 0: such a server would never be chosen.
    Zero,
    /// It is above 4294967295.
    TooLarge,
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "weight: missing; the tag must be an integer in [1, 4294967295]",
            Self::NoInteger => "weight: not an integer in [1, 4294967295]",
            Self::Zero => "weight: 0 is not in [1, 4294967295]",
            Self::TooLarge => "weight: above 4294967295",
        })
    }
}

impl core::error::Error for WeightError {}

/// Whether a balancer needs weights, and where they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Weighing {
    /// All servers weigh the same.
    #[default]
    Alike,
    /// A server's weight is its tag. A server whose tag is no weight is not taken into the list.
    Tag,
    /// A server's weight is its tag, or this weight if the tag is none.
    TagOr(NonZeroU32),
}

impl Weighing {
    /// The weight of a server with this tag.
    ///
    /// # Errors
    /// The tag must be a weight, and it is none.
    pub fn weight(self, tag: &impl Tag) -> Result<NonZeroU32, WeightError> {
        match self {
            Self::Alike => Ok(NonZeroU32::MIN),
            Self::Tag => tag.weight(),
            Self::TagOr(default) => Ok(tag.weight().unwrap_or(default)),
        }
    }
}

/// A tag, which may state a weight.
pub trait Tag {
    /// The weight that it states.
    ///
    /// # Errors
    /// It states none.
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        Err(WeightError::NoInteger)
    }
}

impl Tag for () {}

impl<T: AsRef<str> + ?Sized> Tag for &T {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        weight_of_tag(self.as_ref())
    }
}

macro_rules! number_tags {
    ($($number:ty),*) => {
        $(impl Tag for $number {
            fn weight(&self) -> Result<NonZeroU32, WeightError> {
                NonZeroU32::new(u32::from(*self)).ok_or(WeightError::Zero)
            }
        })*
    };
}

number_tags!(u8, u16, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_a_weight_is_a_positive_integer_and_what_is_not_says_why() {
        for (tag, expected) in [
            ("3", Ok(3)),
            ("+5", Ok(5)),
            ("4294967295", Ok(u32::MAX)),
            ("", Err(WeightError::Missing)),
            ("0", Err(WeightError::Zero)),
            ("4294967296", Err(WeightError::TooLarge)),
            ("-1", Err(WeightError::NoInteger)),
            (" 5", Err(WeightError::NoInteger)),
            ("5 ", Err(WeightError::NoInteger)),
            ("1ab", Err(WeightError::NoInteger)),
            ("1.5", Err(WeightError::NoInteger)),
        ] {
            assert_eq!(weight_of_tag(tag).map(NonZeroU32::get), expected, "{tag:?}");
        }
    }
}

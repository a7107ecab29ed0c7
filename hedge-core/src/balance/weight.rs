//! The weights of servers, and how a server's tag states its weight.

use core::fmt;
use core::num::NonZeroU32;

use super::{TagError, TagKey, TagWords};

/// Returns the weight that a server's tag states ([S2](crate::rules#S2)). The tag must be an integer from 1 to
/// 4294967295, without any other character (except a plus sign before it), not even a space. Or the tag must consist of
/// words, one of which states the weight, as in `zone=a weight=3` or `3 canary` ([`TagWords`]).
///
/// # Errors
/// Returns the reason why the tag is not a weight.
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
            _ if tag.contains(['=', '/']) || tag.split_ascii_whitespace().nth(1).is_some() => {
                return weight_of_words(tag);
            }
            _ => WeightError::NoInteger,
        }),
    }
}

/// Returns the weight that the words of a tag state.
#[cold]
fn weight_of_words(tag: &str) -> Result<NonZeroU32, WeightError> {
    match TagWords::parse(tag) {
        Ok(words) => words.weight.ok_or(WeightError::Missing),
        Err(TagError::Twice(TagKey::Weight)) => Err(WeightError::Twice),
        Err(TagError::Value(TagKey::Weight)) => Err(WeightError::NoInteger),
        Err(other) => Err(WeightError::Words(other)),
    }
}

/// The reason why a tag is not a weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WeightError {
    /// The tag is empty, or none of its words states a weight.
    Missing,
    /// The tag is not an integer, or the value of the word that states the weight is not allowed.
    NoInteger,
    /// The tag is 0. A server of weight 0 would never be chosen.
    Zero,
    /// The tag is above 4294967295.
    TooLarge,
    /// The tag states two weights.
    Twice,
    /// Another word of the tag is not allowed.
    Words(TagError),
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "weight: missing; the tag must be an integer in [1, 4294967295]",
            Self::NoInteger => "weight: not an integer in [1, 4294967295]",
            Self::Zero => "weight: 0 is not in [1, 4294967295]",
            Self::TooLarge => "weight: above 4294967295",
            Self::Twice => "weight: stated twice; leave one out",
            Self::Words(error) => return fmt::Display::fmt(error, f),
        })
    }
}

impl core::error::Error for WeightError {}

/// Whether a balancer needs weights, and where they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Weighing {
    /// All servers have the same weight.
    #[default]
    Alike,
    /// A server's tag states its weight. A server whose tag states no valid weight is refused.
    Tag,
    /// A server's tag states its weight. If the tag states no valid weight, the server has this weight.
    TagOr(NonZeroU32),
}

impl Weighing {
    /// Returns the weight of a server with this tag.
    ///
    /// # Errors
    /// Returns an error if the tag must be a weight, but is not.
    pub fn weight(self, tag: &impl Tag) -> Result<NonZeroU32, WeightError> {
        match self {
            Self::Alike => Ok(NonZeroU32::MIN),
            Self::Tag => tag.weight(),
            Self::TagOr(default) => Ok(tag.weight().unwrap_or(default)),
        }
    }
}

/// A server's tag, which may state a weight.
pub trait Tag {
    /// Returns the weight that this tag states.
    ///
    /// # Errors
    /// Returns the reason why the tag is not a weight.
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        Err(WeightError::NoInteger)
    }

    /// Returns the tag as text. Returns an empty text if the tag is not a text. The words of the text can state where
    /// the server is, for example ([`TagWords`]).
    fn text(&self) -> &str {
        ""
    }
}

impl Tag for () {}

impl<T: AsRef<str> + ?Sized> Tag for &T {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        weight_of_tag(self.as_ref())
    }

    fn text(&self) -> &str {
        (*self).as_ref()
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
            ("zone=a weight=3", Ok(3)),
            ("zone=a 3", Ok(3)),
            ("3 canary", Ok(3)),
            ("canary 3", Ok(3)),
            ("canary blue", Err(WeightError::Missing)),
            ("3 4", Err(WeightError::Twice)),
            ("0 canary", Err(WeightError::NoInteger)),
            ("3 priority=x", Err(WeightError::Words(TagError::Value(TagKey::Priority)))),
            ("zone=a zone=b 3", Err(WeightError::Words(TagError::Twice(TagKey::Zone)))),
            ("0/2 3", Ok(3)),
            ("weight=0", Ok(1)),
            ("zone=a", Err(WeightError::Missing)),
            ("weight=x", Err(WeightError::NoInteger)),
            ("weight=1 weight=2", Err(WeightError::Twice)),
        ] {
            assert_eq!(weight_of_tag(tag).map(NonZeroU32::get), expected, "{tag:?}");
        }
    }
}

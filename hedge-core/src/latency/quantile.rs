//! A quantile of a distribution: [`Quantile`].

use core::fmt;

use crate::bounded::Bounded;

/// A quantile in ten-thousandths: 9500 is the 95th percentile, and 9999 is the 99.99th percentile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "u16", into = "u16"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Quantile(u16);

impl Quantile {
    /// The median (50th percentile).
    pub const P50: Self = Self(5_000);
    /// The 95th percentile.
    pub const P95: Self = Self(9_500);
    /// The 99th percentile.
    pub const P99: Self = Self(9_900);
    /// The 99.9th percentile.
    pub const P999: Self = Self(9_990);
    /// The 99.99th percentile.
    pub const P9999: Self = Self(9_999);

    /// The number of ten-thousandths in the whole.
    pub(crate) const WHOLE: u16 = 10_000;

    /// The quantiles that describe a snapshot's distribution.
    pub(super) const CDF: [Self; 20] = [
        Self(1_000),
        Self(2_000),
        Self(3_000),
        Self(4_000),
        Self(5_000),
        Self(6_000),
        Self(7_000),
        Self(8_000),
        Self(9_000),
        Self(9_100),
        Self(9_200),
        Self(9_300),
        Self(9_400),
        Self(9_500),
        Self(9_600),
        Self(9_700),
        Self(9_800),
        Self(9_900),
        Self(9_990),
        Self(9_999),
    ];

    /// Makes a quantile of `ten_thousandths`, from 0 to 10000.
    ///
    /// # Errors
    /// Returns [`QuantileError`] if `ten_thousandths` is above 10000.
    pub const fn new(ten_thousandths: u16) -> Result<Self, QuantileError> {
        if ten_thousandths > Self::WHOLE { Err(QuantileError { ten_thousandths }) } else { Ok(Self(ten_thousandths)) }
    }

    /// Returns the quantile that has `ten_thousandths` ten-thousandths of a distribution above it. For 200 it is the
    /// 98th percentile.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "they are at most 10000")]
    pub(crate) const fn beyond(ten_thousandths: Bounded<1, 10_000>) -> Self {
        Self(Self::WHOLE - ten_thousandths.get() as u16)
    }

    /// Returns the quantile in ten-thousandths, from 0 to 10000.
    #[must_use]
    pub const fn ten_thousandths(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Quantile {
    type Error = QuantileError;

    fn try_from(ten_thousandths: u16) -> Result<Self, QuantileError> {
        Self::new(ten_thousandths)
    }
}

impl From<Quantile> for u16 {
    fn from(quantile: Quantile) -> Self {
        quantile.0
    }
}

impl fmt::Display for Quantile {
    /// Writes the quantile in the usual short form: `p95`, `p99.9`, `p99.99`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 100, self.0 % 100);
        match (rest / 10, rest % 10) {
            (0, 0) => write!(f, "p{percent}"),
            (tenths, 0) => write!(f, "p{percent}.{tenths}"),
            _ => write!(f, "p{percent}.{rest:02}"),
        }
    }
}

/// The error for a quantile above 10000 ten-thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QuantileError {
    /// The number that was given.
    pub ten_thousandths: u16,
}

impl fmt::Display for QuantileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quantile {} ten-thousandths: must be in [0, 10000]", self.ten_thousandths)
    }
}

impl core::error::Error for QuantileError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn quantiles_are_named_as_they_are_spoken_of() {
        for (quantile, name) in [
            (Quantile::P50, "p50"),
            (Quantile::P999, "p99.9"),
            (Quantile::P9999, "p99.99"),
            (Quantile(9_905), "p99.05"),
            (Quantile(10_000), "p100"),
        ] {
            assert_eq!(quantile.to_string(), name);
        }
    }

    #[test]
    fn more_than_all_is_an_error() {
        assert_eq!(Quantile::new(10_000).map(u16::from), Ok(10_000));
        let error = Quantile::try_from(10_001).unwrap_err();
        assert_eq!(error.to_string(), "quantile 10001 ten-thousandths: must be in [0, 10000]");
        assert_eq!(Quantile::beyond(Bounded::of::<200>()), Quantile(9_800));
        assert_eq!(Quantile::beyond(Bounded::of::<10_000>()), Quantile(0));
    }
}

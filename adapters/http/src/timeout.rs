//! The header `grpc-timeout`: [`GrpcTimeout`].

use std::fmt;
use std::str::FromStr;

use hedge_core::time::Duration;

/// The units of the header and their lengths in nanoseconds, beginning with the shortest unit.
const UNITS: [(char, u64); 6] =
    [('n', 1), ('u', 1_000), ('m', 1_000_000), ('S', 1_000_000_000), ('M', 60_000_000_000), ('H', 3_600_000_000_000)];
const NANOS_A_SECOND: u64 = 1_000_000_000;
/// The largest number of at most 8 digits.
const MOST: u32 = 99_999_999;

/// The value of the header `grpc-timeout`, which tells a server how much time is left. The value consists of at most 8
/// digits and a unit (see the document "gRPC over HTTP/2"). `Display` writes the value, and `FromStr` reads it.
///
/// ```
/// use std::time::Duration;
/// use hedge_http::GrpcTimeout;
///
/// assert_eq!(GrpcTimeout::at_most(Duration::from_micros(1_500)).to_string(), "1500000n");
/// assert_eq!("250m".parse::<GrpcTimeout>()?.to_duration(), Duration::from_millis(250));
/// # Ok::<(), hedge_http::GrpcTimeoutError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GrpcTimeout {
    count: u32,
    unit: (char, u64),
}

impl GrpcTimeout {
    /// Makes the timeout for the time that is left. The timeout is written in the shortest unit in which it has at most
    /// 8 digits, and is rounded down. So a server does not work beyond the client's deadline. Rounding removes at most
    /// a hundred thousandth of `left`. There are two exceptions. If `left` is 0, the timeout is one nanosecond, since
    /// gRPC requires a positive number. If `left` is more than 99,999,999 hours, the timeout is 99,999,999 hours.
    #[must_use]
    pub fn at_most(left: Duration) -> Self {
        let nanos = left.as_nanos().max(1);
        let shortest = UNITS.into_iter().find_map(|unit| {
            let count = u32::try_from(nanos / u128::from(unit.1)).ok().filter(|count| *count <= MOST)?;
            Some(Self { count, unit })
        });
        shortest.unwrap_or(Self { count: MOST, unit: UNITS[5] })
    }

    /// Returns the timeout as a duration.
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        let (_, nanos) = self.unit;
        if nanos >= NANOS_A_SECOND {
            // The product is at most 99,999,999 times 3,600, so it does not overflow.
            Duration::from_secs(nanos / NANOS_A_SECOND * self.count as u64)
        } else {
            Duration::from_nanos(nanos * self.count as u64)
        }
    }
}

impl fmt::Display for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.0)
    }
}

impl FromStr for GrpcTimeout {
    type Err = GrpcTimeoutError;

    /// Parses the value of the header. A timeout of 0 is accepted. gRPC requires a positive number, but some clients
    /// send 0.
    fn from_str(text: &str) -> Result<Self, GrpcTimeoutError> {
        let unit = text.chars().next_back().and_then(|last| UNITS.into_iter().find(|(name, _)| *name == last));
        let digits = |(name, _)| text.strip_suffix(name).filter(|digits| (1..=8).contains(&digits.len()));
        let (unit, digits) = unit.and_then(|unit| Some((unit, digits(unit)?))).ok_or(GrpcTimeoutError)?;
        let count = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self { count: count.ok_or(GrpcTimeoutError)?, unit })
    }
}

/// The error of a text that is not a valid value of the header `grpc-timeout`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrpcTimeoutError;

impl fmt::Display for GrpcTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grpc-timeout: must be 1 to 8 digits and a unit, which is one of H, M, S, m, u, n")
    }
}

impl std::error::Error for GrpcTimeoutError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l2_a_timeout_is_written_in_the_shortest_unit_that_fits() {
        for (nanos, expected) in [
            (0, "1n"),
            (1, "1n"),
            (99_999_999, "99999999n"),
            (100_000_000, "100000u"),
            (100_000_999, "100000u"),
            (99_999_999_999, "99999999u"),
            (100_000_000_000, "100000m"),
            (99_999_999_999_999, "99999999m"),
            (100_000_000_000_000, "100000S"),
            (99_999_999_999_999_999, "99999999S"),
            (100_000_000_000_000_000, "1666666M"),
        ] {
            assert_eq!(GrpcTimeout::at_most(Duration::from_nanos(nanos)).to_string(), expected, "{nanos}");
        }
        for (seconds, expected) in [
            (99_999_999, "99999999S"),
            (100_000_000, "1666666M"),
            (99_999_999 * 60 + 59, "99999999M"),
            (100_000_000 * 60, "1666666H"),
            (99_999_999 * 3_600, "99999999H"),
            (u64::MAX, "99999999H"),
        ] {
            assert_eq!(GrpcTimeout::at_most(Duration::from_secs(seconds)).to_string(), expected, "{seconds}");
        }
    }

    #[test]
    fn l2_a_server_never_gets_more_time_than_is_left() {
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let left = Duration::from_nanos((random >> 8) >> (random % 56));
            let timeout = GrpcTimeout::at_most(left);
            let read = timeout.to_string().parse::<GrpcTimeout>().unwrap();
            assert_eq!(read, timeout);
            assert!(read.to_duration() <= left.max(Duration::from_nanos(1)), "{left:?}: {timeout}");
            assert!(left - read.to_duration().min(left) <= left / 100_000, "{left:?}: {timeout}");
        }
    }

    #[test]
    fn a_timeout_is_read_in_every_unit() {
        let ok = |text: &str| text.parse::<GrpcTimeout>().unwrap().to_duration();
        assert_eq!(ok("99999999H"), Duration::from_secs(99_999_999 * 3_600));
        assert_eq!(ok("2M"), Duration::from_secs(120));
        assert_eq!(ok("0S"), Duration::ZERO);
        assert_eq!(ok("00000003m"), Duration::from_millis(3));
        assert_eq!(ok("4u"), Duration::from_micros(4));
        assert_eq!(ok("5n"), Duration::from_nanos(5));
        for text in [
            "",
            "1",
            "n",
            "123456789n",
            "000000001n",
            "1s",
            "1h",
            "+1n",
            "-1n",
            " 1n",
            "1n ",
            "1 n",
            "1.5S",
            "1é",
            "٥n",
        ] {
            assert_eq!(text.parse::<GrpcTimeout>(), Err(GrpcTimeoutError), "{text:?}");
        }
    }
}

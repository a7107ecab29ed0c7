//! Exponential decay, e^(-t / tau), in integers: [`Decay`].

use crate::time::Micros;

/// The number 2^(-1/1024), in units of 2^-64. The next constant is 2^(-1/32), in the same units.
const FINE: u64 = 0xFFD3_A751_C0F7_E10B;
const COARSE: u64 = 0xFA83_B2DB_722A_033A;
/// The number ln 2, times 2^64.
const LN_2: u64 = 0xB172_17F7_D1CF_79AB;
/// The number 1 / ln 2, times 2^126.
const LOG2_E: u128 = 0x5C55_1D94_AE0B_F85D_DF43_FF68_348E_9F44;
/// The powers 2^-(i/32), for each value i of the first five fractional bits of an exponent. The next table has the
/// powers 2^-(i/1024), for the next five bits. Both are in units of 2^-64.
static COARSE_POWERS: [u64; 32] = powers(COARSE);
static FINE_POWERS: [u64; 32] = powers(FINE);

/// Exponential decay: after a time equal to the time constant, 1/e of a value is left.
///
/// e^(-t / tau) is computed as a power of two. The integer part of the exponent becomes a shift. The first ten
/// fractional bits of the exponent are looked up in two tables of 256 bytes. The remaining bits go through the power
/// series of e^-x, up to x^4. The error is below 2^-53. The cost is eight multiplications of 64 bits, and a division by
/// 3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay {
    /// The number 1 / (tau ln 2), shifted so that its highest bit is set.
    rate: u64,
    /// The number of bits for the shift: `time * rate >> shift` is the exponent, times 2^64.
    shift: u32,
}

impl Decay {
    /// Makes the decay with this time constant. The time constant must be at least two microseconds.
    pub(super) const fn new(tau: Micros) -> Self {
        let tau = tau.as_micros();
        let rate = LOG2_E / if tau < 2 { 2 } else { tau as u128 };
        // The rate keeps its 64 most significant bits.
        let lead = rate.leading_zeros();
        Self { rate: ((rate << lead) >> 64) as u64, shift: lead - 2 }
    }

    /// Returns what is left of `value` after `age`, rounded down. After an age of zero, the whole value is left.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half of the exponent is what is behind the point")]
    pub(super) fn left_of(self, value: u64, age: Micros) -> u64 {
        let age = age.as_micros();
        if age == 0 {
            return value;
        }
        let exponent = (u128::from(age) * u128::from(self.rate)) >> self.shift;
        let whole = exponent >> 64;
        // A value of 64 bits has decayed to 0.
        if whole >= 64 {
            return 0;
        }
        mul_high(value, power(exponent as u64)) >> whole
    }
}

/// Returns 2^-f times 2^64, where `fraction` is f times 2^64.
fn power(fraction: u64) -> u64 {
    let looked_up = |table: &[u64; 32], shift: u32| {
        let index = usize::try_from((fraction >> shift) & 31).unwrap_or(0);
        table.get(index).copied().unwrap_or(0)
    };
    let x = mul_high(fraction & ((1 << 54) - 1), LN_2);
    // 1 - x (1 - x/2 (1 - x/3 (1 - x/4))), where `u64::MAX` stands for 1.
    let series = u64::MAX - x / 4;
    let series = u64::MAX - mul_high(x, series) / 3;
    let series = u64::MAX - mul_high(x, series) / 2;
    let series = u64::MAX - mul_high(x, series);
    mul_high(mul_high(looked_up(&COARSE_POWERS, 59), looked_up(&FINE_POWERS, 54)), series)
}

/// Returns a table of powers: entry n is (`base` / 2^64)^n, times 2^64. Entry 0 is one unit too small, since 2^64
/// itself does not fit.
#[expect(clippy::indexing_slicing, reason = "run when the tables are compiled")]
const fn powers(base: u64) -> [u64; 32] {
    let mut table = [u64::MAX; 32];
    let mut index = 1;
    while index < table.len() {
        table[index] = if index == 1 { base } else { mul_high(table[index - 1], base) };
        index += 1;
    }
    table
}

/// Returns the product of `a` and `b`, divided by 2^64 and rounded down.
pub(super) const fn mul_high(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_as_in_floating_point() {
        const SEED: u64 = 7;
        let mut rng = fastrand::Rng::with_seed(SEED);
        for tau in [1_000, 2_000_000, 10_000_000, 3_600_000_000] {
            let decay = Decay::new(Micros::from_micros(tau));
            for _ in 0..20_000 {
                let age = rng.u64(1..tau * 12);
                let value = rng.u64(1 << 51..1 << 52);
                let got = decay.left_of(value, Micros::from_micros(age)) as f64;
                let expected = value as f64 * (-(age as f64) / tau as f64).exp();
                assert!((got - expected).abs() <= 1.0 + expected * 4e-15, "{tau} {age} {value}: {got} {expected}");
            }
        }
    }

    #[test]
    fn nothing_is_lost_in_no_time_and_all_in_a_long_one() {
        let decay = Decay::new(Micros::from_secs(10));
        assert_eq!(decay.left_of(14_353, Micros::ZERO), 14_353);
        assert_eq!(decay.left_of(14_353, Micros::from_micros(1)), 14_352);
        assert_eq!(decay.left_of(u64::MAX, Micros::from_secs(500)), 0);
        assert_eq!(decay.left_of(u64::MAX, Micros::MAX), 0);
    }
}

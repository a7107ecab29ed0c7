//! The weights of a list: [`Weights`].

use super::decay::mul_high;
use super::{ArrangeError, Buffer};

/// The weights of the servers of a list, in the order of their positions. The type also holds the sum of the weights
/// and the stride of `wrr`.
///
/// Cost: 4 bytes for each server if `W` is a slice or a vector of `u32`, and 16 bytes for the list.
#[derive(Clone, Debug, Default)]
pub struct Weights<W> {
    weights: W,
    total: u64,
    stride: u64,
}

impl<W: Buffer<u32>> Weights<W> {
    /// Replaces the weights. A server of weight 0 gets no turn in `wrr`. A search takes it only if it has found no
    /// server of a greater weight that the call can use.
    ///
    /// # Errors
    /// Returns an error if the list has no room for all weights. The list is then empty.
    pub fn refill(&mut self, weights: impl Iterator<Item = u32>) -> Result<(), ArrangeError> {
        let (mut row, mut result) = (core::mem::take(&mut self.weights), Ok(()));
        if let Err(error) = row.refill(weights) {
            (row, result) = (W::default(), Err(error));
        }
        *self = Self::new(row);
        result
    }
}

impl<W: AsRef<[u32]>> Weights<W> {
    /// Makes a list of these weights. A server of weight 0 gets no turn in `wrr`. A search takes it only if it has
    /// found no server of a greater weight that the call can use.
    pub fn new(weights: W) -> Self {
        let total = weights.as_ref().iter().map(|weight| u64::from(*weight)).sum();
        let stride = stride(total, weights.as_ref().len() as u64);
        Self { weights, total, stride }
    }

    /// Returns how many servers there are.
    pub fn len(&self) -> usize {
        self.weights.as_ref().len()
    }

    /// Returns whether the list has no servers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sum of the weights.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the sum of the first `servers` weights.
    pub(super) fn total_of(&self, servers: usize) -> u64 {
        match self.weights.as_ref().get(..servers) {
            Some(first) if servers < self.len() => first.iter().map(|weight| u64::from(*weight)).sum(),
            _ => self.total,
        }
    }

    /// Returns the weight at a position. Returns 0 past the end.
    pub fn at(&self, position: u32) -> u32 {
        usize::try_from(position).ok().and_then(|position| self.weights.as_ref().get(position)).copied().unwrap_or(0)
    }

    /// Returns the position that 64 random bits select. The probability of each position is its share of the sum of the
    /// weights. Returns 0 if all weights are 0.
    pub(super) fn drawn(&self, random: u64) -> u32 {
        // The code draws one unit of the sum, and then searches for the server whose weight contains this unit.
        let mut unit = mul_high(self.total, random);
        let past = |weight: &u32| match unit.checked_sub((*weight).into()) {
            Some(rest) => {
                unit = rest;
                false
            }
            None => true,
        };
        let drawn = self.weights.as_ref().iter().position(past);
        drawn.and_then(|position| u32::try_from(position).ok()).unwrap_or(0)
    }

    /// Returns how many units `wrr` moves on at each pick.
    pub(super) const fn stride(&self) -> u64 {
        self.stride
    }
}

/// Primes in rising order. From 6599 on, each is about 1.5 times the prime before it. The last primes are above the
/// largest weight. A prime that does not divide the length of a cycle is a stride that reaches every unit of the cycle.
/// These primes are brpc's, so the sequences are brpc's too.
const PRIMES: [u64; 60] = [
    2,
    3,
    5,
    11,
    17,
    29,
    47,
    71,
    107,
    137,
    163,
    251,
    307,
    379,
    569,
    683,
    857,
    1_289,
    1_543,
    1_949,
    2_617,
    2_927,
    3_407,
    4_391,
    6_599,
    9_901,
    14_867,
    22_303,
    33_457,
    50_207,
    75_323,
    112_997,
    169_501,
    254_257,
    381_389,
    572_087,
    849_083,
    1_273_637,
    1_910_471,
    2_865_727,
    4_298_629,
    6_447_943,
    9_671_923,
    14_507_903,
    21_761_863,
    32_642_861,
    48_964_297,
    73_446_469,
    110_169_743,
    165_254_623,
    247_881_989,
    371_822_987,
    557_734_537,
    836_601_847,
    1_254_902_827,
    1_882_354_259,
    2_823_531_397,
    4_235_297_173,
    6_352_945_771,
    9_529_418_671,
];

/// Returns the stride: the first of [`PRIMES`] that is at least the mean weight and coprime with the sum, taken modulo
/// the sum. Returns 0 if the sum is 0.
pub(super) fn stride(total: u64, servers: u64) -> u64 {
    if total <= 1 {
        return total;
    }
    let mean = total / servers.max(1);
    let known = PRIMES.iter().copied().filter(|prime| *prime >= mean).find(|prime| coprime(total, *prime));
    // The search always finds a prime. The mean is at most `u32::MAX`, and two primes of the list are above `u32::MAX`.
    // No sum is divisible by both of these primes, since their product is above 2^64.
    known.unwrap_or(1) % total
}

const fn coprime(mut a: u64, mut b: u64) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_strides_are_coprime_with_the_sum() {
        for (total, servers, expected) in
            [(1, 1, 1), (12, 3, 5), (100, 2, 71), (15, 5, 11), (10, 3, 3), (2_997, 3, 1_289)]
        {
            assert_eq!(stride(total, servers), expected, "{total} / {servers}");
        }
        for total in 2..5_000 {
            for servers in [1, 2, 3, 7, total] {
                let stride = stride(total, servers);
                assert!(stride < total && coprime(total, stride), "{total} / {servers}: {stride}");
            }
        }
        let most = u64::from(u32::MAX);
        assert!(coprime(most, stride(most, 1)) && coprime(most * 9, stride(most * 9, 9)));
    }
}

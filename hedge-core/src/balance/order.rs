//! Orders in which to visit the positions of a list: [`Order`] and [`InTurn`].

use core::num::NonZeroU32;

/// An order of the positions `0..len`, each once: a first choice, a second choice, and then the others by a fixed
/// stride. The stride is computed only for the third choice, so that the first choice stays cheap.
#[derive(Clone, Debug)]
pub struct Order {
    len: NonZeroU32,
    first: u32,
    /// The latest choice after the first one is position `first + 1 + next`, modulo `len`. At the start, this is the
    /// second choice.
    next: u32,
    /// The stride. Before the third choice, this is the stride that the caller asked for. From the third choice on, it
    /// is a stride near that one that reaches each of the other positions.
    stride: u32,
    given: u32,
}

impl Order {
    /// Makes an order that begins at `first`. The second position is `1 + second` after the first. The others follow by
    /// a stride near `stride`. `first` must be below `len`. `second` must be below `len - 1` if `len` is above 1.
    #[must_use]
    pub const fn scattered(len: NonZeroU32, first: u32, second: u32, stride: u32) -> Self {
        Self { len, first, next: second, stride, given: 0 }
    }

    /// Makes a random order from three draws. The first and the second position are uniformly distributed, and the
    /// others are scattered.
    pub fn random(len: NonZeroU32, random: &mut dyn FnMut() -> u32) -> Self {
        let rest = NonZeroU32::new(len.get() - 1).unwrap_or(NonZeroU32::MIN);
        Self::scattered(len, below(len, random()), below(rest, random()), random())
    }

    /// Returns the next position after the first choice. Returns `None` after the last position.
    fn fallback(&mut self) -> Option<u32> {
        let rest = NonZeroU32::new(self.len.get() - 1).filter(|_| self.given < self.len.get())?;
        if self.given > 1 {
            self.stride(rest);
        }
        self.given += 1;
        Some(add_modulo(self.first, self.next + 1, self.len.get()))
    }

    /// Moves on by a stride among the `rest` other positions. The second choice does not need this. That saves time,
    /// because finding a stride that is coprime with `rest` costs more than a whole pick.
    fn stride(&mut self, rest: NonZeroU32) {
        if self.given == 2 {
            self.stride = (self.stride % rest).max(1);
            // Only a stride that is coprime with `rest` reaches each position. The loop ends, since 1 is coprime with
            // every number.
            while gcd(self.stride, rest.get()) != 1 {
                self.stride -= 1;
            }
        }
        self.next = add_modulo(self.next, self.stride, rest.get());
    }
}

/// The positions `0..len` in list order, each once, beginning at an origin. After the last position comes 0.
#[derive(Clone, Debug)]
pub struct InTurn {
    len: NonZeroU32,
    next: u32,
    left: u32,
}

impl InTurn {
    /// Makes the list order that begins at `origin` modulo `len`.
    #[must_use]
    pub const fn from_origin(len: NonZeroU32, origin: u32) -> Self {
        // A division costs as much as the rest of a selection, so it is done only if it is needed.
        let next = if origin < len.get() { origin } else { origin % len.get() };
        Self { len, next, left: len.get() }
    }
}

impl Iterator for InTurn {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let position = self.next;
        self.next = if position + 1 == self.len.get() { 0 } else { position + 1 };
        Some(position)
    }
}

/// Returns the sum of `a` and `b` modulo `modulus`, without division or overflow. Both must be at most `modulus`.
const fn add_modulo(a: u32, b: u32, modulus: u32) -> u32 {
    let gap = modulus - a;
    if b >= gap { b - gap } else { a + b }
}

/// Maps 32 random bits to `0..n` by a multiplication (Lemire 2019). Lemire's rejection step is left out, so there is a
/// bias, which is below n / 2^32.
fn below(n: NonZeroU32, random: u32) -> u32 {
    let wide = u64::from(n.get()) * u64::from(random);
    u32::try_from(wide >> 32).unwrap_or(0)
}

impl Iterator for Order {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.given > 0 {
            return self.fallback();
        }
        self.given = 1;
        Some(self.first)
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while let Some(divisor) = NonZeroU32::new(b) {
        (a, b) = (b, a % divisor);
    }
    a
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn len(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn s6_every_sequence_visits_each_position_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        for n in 1..60 {
            for _ in 0..50 {
                let order = Order::scattered(len(n), rng.u32(0..n), rng.u32(0..(n - 1).max(1)), rng.u32(..));
                let mut seen: Vec<u32> = order.clone().collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>(), "{order:?}");
                let origin = rng.u32(..);
                let in_turn: Vec<u32> = InTurn::from_origin(len(n), origin).collect();
                let expected: Vec<u32> = (0..n).map(|behind| (origin % n + behind) % n).collect();
                assert_eq!(in_turn, expected, "from {origin}");
            }
        }
    }

    #[test]
    fn s6_huge_lists_do_not_overflow() {
        let order = Order::scattered(len(u32::MAX), u32::MAX - 1, u32::MAX - 2, u32::MAX - 3);
        let positions: Vec<u32> = order.take(5).collect();
        // The first choice is the last position. The second choice is `u32::MAX - 1` positions after it (modulo
        // `u32::MAX`), so it is the position before the last one.
        let max = u32::MAX;
        assert_eq!(positions[..2], [max - 1, max - 2]);
        assert!(positions.iter().all(|position| *position < max));
        let in_turn: Vec<u32> = InTurn::from_origin(len(max), max - 1).take(2).collect();
        assert_eq!(in_turn, [max - 1, 0]);
    }
}

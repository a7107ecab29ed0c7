//! The balancer `random`: it chooses any server, all with equal probability.

use super::{Balancer, Offer, Order, Search, ServerList};

/// Chooses a server at random, all servers with equal probability ([S2](crate::rules#S2)). The second choice is
/// uniformly random among the other servers. Further choices follow in a scattered order.
///
/// Cost: three draws from the call's own generator. There is no shared state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RandomChoice;

impl Balancer for RandomChoice {
    type Stats = ();
    type Ticket = ();

    fn stats(&self) {}

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        search: Search<'a, L>,
        random: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        search.in_order(|len| Order::random(len, random)).map(|(_, candidate)| Offer { candidate, ticket: () })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::testing::{Servers, positions_by};

    #[test]
    fn s2_first_and_second_choices_are_uniform() {
        const SEED: u64 = 42;
        let mut rng = fastrand::Rng::with_seed(SEED);
        let n = 5usize;
        let servers = Servers::<()>::new(n);
        let mut counts = [[0u32; 5]; 5];
        let draws = 100_000;
        for _ in 0..draws {
            let picks = positions_by(&RandomChoice, &servers, &mut || rng.u32(..));
            counts[picks[0]][picks[1]] += 1;
        }
        let expected = f64::from(draws) / (n * (n - 1)) as f64;
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                if first == second {
                    assert_eq!(*count, 0);
                } else {
                    let off = (f64::from(*count) - expected).abs() / expected;
                    assert!(off < 0.06, "{first} then {second}: {count}, expected {expected}, seed {SEED}");
                }
            }
        }
    }
}

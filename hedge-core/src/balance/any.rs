//! A balancer chosen by name, for configuration.

use core::fmt;
use core::num::NonZeroU32;

use super::{Balancer, Candidates, RandomChoice, RoundRobin};
use crate::call::Ticket;

/// Any of this crate's balancers.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyBalancer {
    /// `rr`.
    RoundRobin(RoundRobin),
    /// `random`.
    Random(RandomChoice),
}

impl AnyBalancer {
    /// The names that [`AnyBalancer::named`] knows.
    pub const NAMES: &'static [&'static str] = &["rr", "random"];

    /// The balancer of that name, starting from `seed` (S1).
    ///
    /// # Errors
    /// A name that is none of [`Self::NAMES`].
    pub fn named(name: &str, seed: u64) -> Result<Self, UnknownBalancer> {
        match name {
            "rr" => Ok(Self::RoundRobin(RoundRobin::new(seed))),
            "random" => Ok(Self::Random(RandomChoice)),
            _ => Err(UnknownBalancer(())),
        }
    }
}

impl Balancer for AnyBalancer {
    fn candidates(&self, len: NonZeroU32, random: &mut dyn FnMut() -> u32) -> Candidates {
        match self {
            Self::RoundRobin(balancer) => balancer.candidates(len, random),
            Self::Random(balancer) => balancer.candidates(len, random),
        }
    }

    fn commit(&self, ticket: Ticket, insist: bool) -> bool {
        match self {
            Self::RoundRobin(balancer) => balancer.commit(ticket, insist),
            Self::Random(balancer) => balancer.commit(ticket, insist),
        }
    }
}

/// No balancer has that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownBalancer(());

impl fmt::Display for UnknownBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such balancer; known are")?;
        for (index, name) in AnyBalancer::NAMES.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownBalancer {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn s1_every_name_is_a_balancer_and_others_are_an_error_that_lists_them() {
        for name in AnyBalancer::NAMES {
            assert!(AnyBalancer::named(name, 1).is_ok(), "{name}");
        }
        let error = AnyBalancer::named("fastest", 1).unwrap_err();
        assert_eq!(error.to_string(), "no such balancer; known are rr, random");
    }
}

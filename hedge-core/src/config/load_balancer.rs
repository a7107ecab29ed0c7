//! Reads the field `load_balancer` of a file: [`load_balancer`].

use core::fmt;

use serde::Deserializer;
use serde::de::{Error, MapAccess, Visitor};

use crate::balance::BalancerSpec;
use crate::field::named::{Place, Scalar, refuse};

pub(super) fn load_balancer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BalancerSpec>, D::Error> {
    deserializer.deserialize_any(Balancer).map(Some)
}

/// Reads the name of a balancer. The error says what is wrong with the name.
struct Balancer;

impl Balancer {
    const fn place(&self) -> Place {
        Place::new("load_balancer", "the name of a balancer, as in \"p2c\"")
    }
}

impl<'de> Visitor<'de> for Balancer {
    type Value = BalancerSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load_balancer: {}", self.place().wanted)
    }

    refuse!(scalars);
    refuse!(null);
    refuse!(list);

    fn visit_str<E: Error>(self, text: &str) -> Result<BalancerSpec, E> {
        text.parse().map_err(|error| E::custom(format_args!("load_balancer {}: {error}", Scalar::Text(text))))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<BalancerSpec, A::Error> {
        Err(A::Error::custom(self.place().refusal(&"(a map)")))
    }
}

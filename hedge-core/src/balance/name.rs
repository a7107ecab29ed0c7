//! Balancers by name, with their parameters: [`BalancerName`] ([S1](crate::rules#S1)).

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use super::p2c::{P2cError, P2cOptions};
use super::prequal::{PrequalError, PrequalOptions};
use super::ring::{REPLICAS, RingError, RingHash};
use crate::time::Duration;

/// Which balancer, and with which parameters.
///
/// As text, it is a name alone, or `name:key=value key=value`:
///
/// | name | keys, with their defaults |
/// |---|---|
/// | `rr`, `random`, `la` | |
/// | `wrr`, `wr` | `default_weight` of a server whose tag is no weight; without it such a server is refused |
/// | `p2c` | `choices=2` in \[2, 64\], `tau_ms=10000` in \[1, 3600000\] |
/// | `prequal` | `probes=3` a call, in (1, 16\], `max_age_ms=1000` in \[1, 60000\], `rif_quantile=0.841` in \[0, 1\] |
/// | `c_murmurhash`; `c_md5` and `c_ketama` (feature `md5`) | `replicas=100` in \[1, 65535\], of `c_ketama` a multiple of 4 |
///
/// ```
/// use hedge_core::balance::BalancerName;
///
/// let name: BalancerName = "p2c:choices=4 tau_ms=5000".parse()?;
/// assert_eq!(name.to_string(), "p2c:choices=4 tau_ms=5000");
/// let error = "c_ketama:replica=160".parse::<BalancerName>().unwrap_err();
/// assert_eq!(error.to_string(), "c_ketama has no parameter \"replica\"; known are replicas");
/// # Ok::<(), hedge_core::balance::BalancerError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BalancerName {
    /// `rr`.
    RoundRobin,
    /// `wrr`.
    WeightedRoundRobin {
        /// The weight of a server whose tag is no weight; `None`: such a server is refused.
        default_weight: Option<NonZeroU32>,
    },
    /// `random`.
    Random,
    /// `wr`.
    WeightedRandom {
        /// As of `wrr`.
        default_weight: Option<NonZeroU32>,
    },
    /// `la`.
    LocalityAware,
    /// `p2c`.
    P2c(P2cOptions),
    /// `prequal`.
    Prequal(PrequalOptions),
    /// `c_murmurhash`, `c_md5`, `c_ketama`.
    Consistent {
        /// How points are hashed.
        hash: RingHash,
        /// How many points a server has.
        replicas: u16,
    },
}

impl BalancerName {
    /// The names, without parameters.
    pub const NAMES: &'static [&'static str] =
        &["rr", "wrr", "random", "wr", "la", "p2c", "prequal", "c_murmurhash", "c_md5", "c_ketama"];

    /// The name without parameters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin { .. } => "wrr",
            Self::Random => "random",
            Self::WeightedRandom { .. } => "wr",
            Self::LocalityAware => "la",
            Self::P2c(_) => "p2c",
            Self::Prequal(_) => "prequal",
            Self::Consistent { hash, .. } => hash.name(),
        }
    }

    /// The keys of its parameters.
    #[must_use]
    pub const fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::RoundRobin | Self::Random | Self::LocalityAware => &[],
            Self::WeightedRoundRobin { .. } | Self::WeightedRandom { .. } => &["default_weight"],
            Self::P2c(_) => &["choices", "tau_ms"],
            Self::Prequal(_) => &["probes", "max_age_ms", "rif_quantile"],
            Self::Consistent { .. } => &["replicas"],
        }
    }

    /// The balancer of a name, with the defaults.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rr" => Self::RoundRobin,
            "wrr" => Self::WeightedRoundRobin { default_weight: None },
            "random" => Self::Random,
            "wr" => Self::WeightedRandom { default_weight: None },
            "la" => Self::LocalityAware,
            "p2c" => Self::P2c(P2cOptions::DEFAULT),
            "prequal" => Self::Prequal(PrequalOptions::DEFAULT),
            name => {
                let hash = *RingHash::ALL.iter().find(|hash| hash.name() == name)?;
                Self::Consistent { hash, replicas: REPLICAS }
            }
        })
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), BalancerError> {
        let (name, keys) = (self.name(), self.keys());
        let Some(key) = keys.iter().copied().find(|known| *known == key) else {
            return Err(BalancerError::Key { name, key: Word::new(key), keys });
        };
        let bad = |range| BalancerError::Value { name, key, value: Word::new(value), range };
        match (self, key) {
            (
                Self::WeightedRoundRobin { default_weight } | Self::WeightedRandom { default_weight },
                "default_weight",
            ) => *default_weight = Some(number(value).ok_or_else(|| bad("[1, 4294967295]"))?),
            (Self::P2c(options), "choices") => {
                options.choices = within(number(value), 2, 64).ok_or_else(|| bad("[2, 64]"))?;
            }
            (Self::P2c(options), "tau_ms") => {
                let millis = within(number(value), 1, 3_600_000).ok_or_else(|| bad("[1, 3600000]"))?;
                options.tau = Duration::from_millis(millis);
            }
            (Self::Prequal(options), "probes") => {
                // More than the one a call that is taken out by default.
                let probes = within(thousandths(value), 1_001, 16_000).ok_or_else(|| bad("(1, 16]"))?;
                options.probes_per_1000_calls = probes;
            }
            (Self::Prequal(options), "max_age_ms") => {
                let millis = within(number(value), 1, 60_000).ok_or_else(|| bad("[1, 60000]"))?;
                options.max_age = Duration::from_millis(millis);
            }
            (Self::Prequal(options), "rif_quantile") => {
                let quantile = within(thousandths(value), 0, 1_000).ok_or_else(|| bad("[0, 1]"))?;
                options.rif_quantile_permille = quantile;
            }
            (Self::Consistent { hash, replicas }, "replicas") => {
                let range = match hash {
                    RingHash::Ketama => "[4, 65532], a multiple of 4",
                    RingHash::Murmur | RingHash::Md5 => "[1, 65535]",
                };
                let valid = |replicas: &u16| *replicas > 0 && (*hash != RingHash::Ketama || replicas.is_multiple_of(4));
                *replicas = number(value).filter(valid).ok_or_else(|| bad(range))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The number, if it is in its range.
fn within<N: PartialOrd>(number: Option<N>, least: N, most: N) -> Option<N> {
    number.filter(|number| (least..=most).contains(number))
}

/// A number, without a sign.
fn number<N: FromStr>(value: &str) -> Option<N> {
    if value.starts_with('+') { None } else { value.parse().ok() }
}

/// A number with up to three decimals, in thousandths.
fn thousandths(value: &str) -> Option<u32> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let scale = 10_u32.pow(3_u32.checked_sub(u32::try_from(decimals.len()).ok()?)?);
    let part = number::<u32>(decimals)?.checked_mul(scale)?;
    number::<u32>(whole)?.checked_mul(1_000)?.checked_add(part)
}

/// Characters that people write between parameters instead of a blank.
const SEPARATORS: [char; 3] = [',', ';', '&'];

/// The error for a text without a known name before a colon. It may have a known name that something other than a colon
/// follows.
fn not_a_name(text: &str, name: &str) -> BalancerError {
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let behind = end.and_then(|end| {
        let (name, rest) = text.split_at_checked(end)?;
        Some((BalancerName::named(name)?.name(), rest))
    });
    match behind {
        Some((name, rest)) => {
            let parameters = rest.trim_matches(|character: char| !character.is_ascii_alphanumeric());
            BalancerError::NoColon { name, parameters: Word::new(parameters) }
        }
        None => BalancerError::Name { name: Word::new(name) },
    }
}

impl FromStr for BalancerName {
    type Err = BalancerError;

    fn from_str(text: &str) -> Result<Self, BalancerError> {
        let text = text.trim();
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut named = Self::named(name.trim()).ok_or_else(|| not_a_name(text, name))?;
        let name = named.name();
        // The keys that were given, one bit each.
        let mut given = 0_u32;
        for parameter in parameters.split_ascii_whitespace() {
            if parameter.split_once(SEPARATORS).is_some_and(|(_, rest)| rest.is_empty() || rest.contains('=')) {
                return Err(BalancerError::Separator { name, parameters: Word::new(parameters) });
            }
            let (key, value) =
                parameter.split_once('=').ok_or_else(|| BalancerError::NoValue { name, key: Word::new(parameter) })?;
            named.set(key, value)?;
            if let Some((bit, key)) = (0..).zip(named.keys()).find(|(_, known)| **known == key) {
                if given & (1 << bit) != 0 {
                    return Err(BalancerError::Twice { name, key });
                }
                given |= 1 << bit;
            }
        }
        match &named {
            Self::P2c(options) => options.validate().map_err(BalancerError::P2c)?,
            Self::Prequal(options) => options.validate().map_err(BalancerError::Prequal)?,
            _ => {}
        }
        Ok(named)
    }
}

impl fmt::Display for BalancerName {
    /// The name, and the parameters that differ from the defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut before = ":";
        let mut show = |key: &str, value: &dyn fmt::Display| {
            write!(f, "{before}{key}={value}")?;
            before = " ";
            Ok(())
        };
        match self {
            Self::WeightedRoundRobin { default_weight: Some(weight) }
            | Self::WeightedRandom { default_weight: Some(weight) } => show("default_weight", weight),
            Self::P2c(options) => {
                if options.choices != P2cOptions::DEFAULT.choices {
                    show("choices", &options.choices)?;
                }
                if options.tau != P2cOptions::DEFAULT.tau {
                    show("tau_ms", &options.tau.as_millis())?;
                }
                Ok(())
            }
            Self::Prequal(options) => {
                let default = PrequalOptions::DEFAULT;
                if options.probes_per_1000_calls != default.probes_per_1000_calls {
                    show("probes", &Thousandths(options.probes_per_1000_calls))?;
                }
                if options.max_age != default.max_age {
                    show("max_age_ms", &options.max_age.as_millis())?;
                }
                if options.rif_quantile_permille != default.rif_quantile_permille {
                    show("rif_quantile", &Thousandths(options.rif_quantile_permille))?;
                }
                Ok(())
            }
            Self::Consistent { replicas, .. } if *replicas != REPLICAS => show("replicas", replicas),
            _ => Ok(()),
        }
    }
}

/// A number of thousandths, as [`thousandths`] reads it.
struct Thousandths(u32);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for BalancerName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BalancerName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = BalancerName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a balancer, perhaps with parameters, as in p2c:choices=4")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BalancerName, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The part of a text that is wrong: its first 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    start: heapless::String<32>,
    cut: bool,
}

impl Word {
    fn new(text: &str) -> Self {
        let mut start = heapless::String::new();
        let cut = text.trim().chars().any(|character| start.push(character).is_err());
        Self { start, cut }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.start.as_str(), if self.cut { " and more" } else { "" })
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Word {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.start.as_str());
    }
}

/// A text that names no balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BalancerError {
    /// No balancer has that name.
    Name {
        /// The name.
        name: Word,
    },
    /// The balancer has no such parameter.
    Key {
        /// The balancer.
        name: &'static str,
        /// The key.
        key: Word,
        /// Those that it has.
        keys: &'static [&'static str],
    },
    /// A parameter has no `=` and no value.
    NoValue {
        /// The balancer.
        name: &'static str,
        /// The parameter.
        key: Word,
    },
    /// Parameters are separated by something other than blanks.
    Separator {
        /// The balancer.
        name: &'static str,
        /// Its parameters.
        parameters: Word,
    },
    /// There is no colon between the name and the parameters.
    NoColon {
        /// The balancer.
        name: &'static str,
        /// Its parameters.
        parameters: Word,
    },
    /// A parameter has two values.
    Twice {
        /// The balancer.
        name: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A parameter cannot have that value.
    Value {
        /// The balancer.
        name: &'static str,
        /// The key.
        key: &'static str,
        /// The value.
        value: Word,
        /// What it may be, in mathematical notation.
        range: &'static str,
    },
    /// A parameter of `p2c` is out of its range.
    P2c(P2cError),
    /// A parameter of `prequal` is out of its range.
    Prequal(PrequalError),
    /// A parameter of a ring is out of its range.
    Ring(RingError),
}

impl fmt::Display for BalancerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, names: &[&str]| {
            for (index, name) in names.iter().enumerate() {
                write!(f, "{}{name}", if index == 0 { " " } else { ", " })?;
            }
            Ok(())
        };
        match self {
            Self::Name { name } => {
                match BalancerName::NAMES.iter().find(|known| name.start.eq_ignore_ascii_case(known)) {
                    Some(known) => write!(f, "no balancer is named {name:?}; write {known}"),
                    None => {
                        write!(f, "no balancer is named {name:?}; known are")?;
                        list(f, BalancerName::NAMES)
                    }
                }
            }
            Self::Key { name, key, keys: [] } => write!(f, "{name} has no parameter {key:?}; it has none"),
            Self::Key { name, key, keys } => {
                write!(f, "{name} has no parameter {key:?}; known are")?;
                list(f, keys)
            }
            Self::NoValue { name, key } => {
                write!(f, "{name}: parameter {key:?} has no value; write key=value, without blanks")
            }
            Self::Separator { name, parameters } => {
                write!(f, "{name}: parameters are separated by blanks; write {name}:{}", Separated(parameters))
            }
            Self::NoColon { name, parameters } => {
                write!(f, "{name}: parameters follow a colon; write {name}:{}", Separated(parameters))
            }
            Self::Twice { name, key } => write!(f, "{name}: parameter {key} is given twice; leave one out"),
            Self::Value { name, key, value, range } => {
                write!(f, "{name}: {key}={}: must be in {range}", value.start)
            }
            Self::P2c(error) => write!(f, "p2c: {error}"),
            Self::Prequal(error) => write!(f, "prequal: {error}"),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

/// Parameters with blanks between them.
struct Separated<'a>(&'a Word);

impl fmt::Display for Separated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = |character: char| character.is_ascii_whitespace() || SEPARATORS.contains(&character);
        let mut before = "";
        for parameter in self.0.start.split(separator).filter(|parameter| !parameter.is_empty()) {
            write!(f, "{before}{parameter}")?;
            before = " ";
        }
        if self.0.cut { f.write_str(" and so on") } else { Ok(()) }
    }
}

impl core::error::Error for BalancerError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    fn error(text: &str) -> String {
        text.parse::<BalancerName>().unwrap_err().to_string()
    }

    #[test]
    fn s1_every_name_is_a_balancer_and_is_shown_as_it_is_written() {
        for name in BalancerName::NAMES {
            assert_eq!(name.parse::<BalancerName>().map(|name| name.to_string()).as_deref(), Ok(*name));
        }
        for text in [
            "p2c:choices=4 tau_ms=5000",
            "p2c:tau_ms=1",
            "prequal:probes=1.500 max_age_ms=500 rif_quantile=0.600",
            "c_ketama:replicas=160",
            "c_md5:replicas=1",
            "wrr:default_weight=10",
            "wr:default_weight=4294967295",
        ] {
            assert_eq!(text.parse::<BalancerName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("p2c:choices=2".parse(), Ok(BalancerName::P2c(P2cOptions::DEFAULT)));
    }

    #[test]
    fn s1_what_names_no_balancer_says_what_is_wrong() {
        let known = "known are rr, wrr, random, wr, la, p2c, prequal, c_murmurhash, c_md5, c_ketama";
        assert_eq!(error("fastest"), std::format!("no balancer is named \"fastest\"; {known}"));
        assert_eq!(error(""), std::format!("no balancer is named \"\"; {known}"));
        let long = "a name that goes on and on and on and on";
        assert!(error(long).starts_with("no balancer is named \"a name that goes on and on and o\" and more"));
        for (text, expected) in [
            ("rr:choices=2", "rr has no parameter \"choices\"; it has none"),
            ("p2c:choice=2", "p2c has no parameter \"choice\"; known are choices, tau_ms"),
            ("p2c:choices", "p2c: parameter \"choices\" has no value; write key=value, without blanks"),
            ("p2c:choices = 3", "p2c: parameter \"choices\" has no value; write key=value, without blanks"),
            ("p2c:choices=many", "p2c: choices=many: must be in [2, 64]"),
            ("p2c:choices=+2", "p2c: choices=+2: must be in [2, 64]"),
            ("p2c:choices=65", "p2c: choices=65: must be in [2, 64]"),
            ("p2c:tau_ms=0", "p2c: tau_ms=0: must be in [1, 3600000]"),
            ("p2c:tau_ms=1,000", "p2c: tau_ms=1,000: must be in [1, 3600000]"),
            ("p2c:choices=3,tau_ms=5", "p2c: parameters are separated by blanks; write p2c:choices=3 tau_ms=5"),
            ("p2c:choices=3, tau_ms=5", "p2c: parameters are separated by blanks; write p2c:choices=3 tau_ms=5"),
            ("p2c:choices=3;tau_ms=5", "p2c: parameters are separated by blanks; write p2c:choices=3 tau_ms=5"),
            ("p2c:choices=3&tau_ms=5", "p2c: parameters are separated by blanks; write p2c:choices=3 tau_ms=5"),
            (
                "prequal:probes=1,max_age_ms=500,rif_quantile=0.6",
                "prequal: parameters are separated by blanks; write prequal:probes=1 max_age_ms=500 rif_quan and so on",
            ),
            ("p2c choices=3 tau_ms=5", "p2c: parameters follow a colon; write p2c:choices=3 tau_ms=5"),
            ("p2c,choices=3,tau_ms=5", "p2c: parameters follow a colon; write p2c:choices=3 tau_ms=5"),
            ("p2c(choices=3)", "p2c: parameters follow a colon; write p2c:choices=3"),
            ("p2c?choices=3&tau_ms=5", "p2c: parameters follow a colon; write p2c:choices=3 tau_ms=5"),
            ("p2c:choices=3 choices=4", "p2c: parameter choices is given twice; leave one out"),
            ("P2C:choices=3", "no balancer is named \"P2C\"; write p2c"),
            ("RR", "no balancer is named \"RR\"; write rr"),
            ("prequal:probes=17", "prequal: probes=17: must be in (1, 16]"),
            ("prequal:probes=1", "prequal: probes=1: must be in (1, 16]"),
            ("prequal:rif_quantile=1.5", "prequal: rif_quantile=1.5: must be in [0, 1]"),
            ("prequal:rif_quantile=.8", "prequal: rif_quantile=.8: must be in [0, 1]"),
            ("prequal:rif_quantile=0.8412", "prequal: rif_quantile=0.8412: must be in [0, 1]"),
            ("prequal:max_age_ms=1s", "prequal: max_age_ms=1s: must be in [1, 60000]"),
            ("c_ketama:replicas=6", "c_ketama: replicas=6: must be in [4, 65532], a multiple of 4"),
            ("c_md5:replicas=0", "c_md5: replicas=0: must be in [1, 65535]"),
            ("wrr:default_weight=0", "wrr: default_weight=0: must be in [1, 4294967295]"),
        ] {
            assert_eq!(error(text), expected);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn s1_a_name_is_read_from_configuration() {
        let name: BalancerName = serde_json::from_str("\"p2c:choices=4\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"p2c:choices=4\"");
        let error = serde_json::from_str::<BalancerName>("\"best\"").unwrap_err().to_string();
        assert!(error.starts_with("no balancer is named \"best\""), "{error}");
    }
}

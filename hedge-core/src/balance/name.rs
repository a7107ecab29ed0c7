//! Balancers by name, with their parameters: [`BalancerName`] ([S1](crate::rules#S1)).

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use super::p2c::P2cOptions;
use super::prequal::{PrequalOptions, ProbeRates};
use super::ring::{REPLICAS, RingError, RingHash};
use crate::bounded::{Bounded, BoundedSpan};
use crate::time::Duration;

/// A balancer together with its parameters.
///
/// A [`BalancerSpec`](super::BalancerSpec) also has groups of servers in which the balancer works.
///
/// As text, this is either a name alone, or a name with parameters: `name:key=value key=value`.
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
    /// The balancer `rr` (round robin).
    RoundRobin,
    /// The balancer `wrr` (weighted round robin).
    WeightedRoundRobin {
        /// The weight of a server whose tag is not a weight. `None`: such a server is refused.
        default_weight: Option<NonZeroU32>,
    },
    /// The balancer `random`.
    Random,
    /// The balancer `wr` (weighted random).
    WeightedRandom {
        /// The weight of a server whose tag is not a weight. `None`: such a server is refused.
        default_weight: Option<NonZeroU32>,
    },
    /// The balancer `la` (locality-aware).
    LocalityAware,
    /// The balancer `p2c` (power of two choices).
    P2c(P2cOptions),
    /// The balancer `prequal` (chooses by probes).
    Prequal(PrequalOptions),
    /// A balancer with consistent hashing: `c_murmurhash`, `c_md5` or `c_ketama`.
    Consistent {
        /// The rule that computes the points.
        hash: RingHash,
        /// How many points each server has.
        replicas: u16,
    },
}

impl BalancerName {
    /// The names of all balancers, without parameters.
    pub const NAMES: &'static [&'static str] =
        &["rr", "wrr", "random", "wr", "la", "p2c", "prequal", "c_murmurhash", "c_md5", "c_ketama"];

    /// Returns the name of this balancer, without parameters.
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

    /// Returns the keys of this balancer's parameters.
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

    /// Returns the balancer of this name with default parameters. Returns `None` if there is no such balancer.
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
                options.choices = bounded(number(value)).ok_or_else(|| bad("[2, 64]"))?;
            }
            (Self::P2c(options), "tau_ms") => {
                options.tau = millis(value).ok_or_else(|| bad("[1, 3600000]"))?;
            }
            (Self::Prequal(options), "probes") => {
                let rates = bounded(thousandths(value))
                    .and_then(|probes| ProbeRates::new(probes, options.rates.removals()).ok());
                options.rates = rates.ok_or_else(|| bad("(1, 16]"))?;
            }
            (Self::Prequal(options), "max_age_ms") => {
                options.max_age = millis(value).ok_or_else(|| bad("[1, 60000]"))?;
            }
            (Self::Prequal(options), "rif_quantile") => {
                options.rif_quantile_permille = bounded(thousandths(value)).ok_or_else(|| bad("[0, 1]"))?;
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

/// Returns the number with its range checked. Returns `None` if the number is outside the range.
pub(super) fn bounded<const MIN: u32, const MAX: u32>(number: Option<u32>) -> Option<Bounded<MIN, MAX>> {
    Bounded::new(number?).ok()
}

/// Reads a number of milliseconds. Returns `None` if the number is outside the range.
fn millis<const MIN_MS: u64, const MAX_MS: u64>(value: &str) -> Option<BoundedSpan<MIN_MS, MAX_MS>> {
    BoundedSpan::new(Duration::from_millis(number(value)?)).ok()
}

/// Reads a number. Returns `None` if the text is not a number, or if it has a sign.
pub(super) fn number<N: FromStr>(value: &str) -> Option<N> {
    if value.starts_with('+') { None } else { value.parse().ok() }
}

/// Reads a number with up to three decimals. Returns the number in thousandths.
fn thousandths(value: &str) -> Option<u32> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let scale = 10_u32.pow(3_u32.checked_sub(u32::try_from(decimals.len()).ok()?)?);
    let part = number::<u32>(decimals)?.checked_mul(scale)?;
    number::<u32>(whole)?.checked_mul(1_000)?.checked_add(part)
}

/// Characters that people often write between parameters instead of a space.
pub(super) const SEPARATORS: [char; 3] = [',', ';', '&'];

/// Returns the error for a text that does not begin with a known name and a colon. If the text begins with a known name
/// and another character follows, the error says so.
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
        // One bit for each key that was given so far.
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
        Ok(named)
    }
}

impl fmt::Display for BalancerName {
    /// Writes the name, and the parameters that differ from the defaults.
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
                    show("tau_ms", &options.tau.get().as_millis())?;
                }
                Ok(())
            }
            Self::Prequal(options) => {
                let default = PrequalOptions::DEFAULT;
                if options.rates != default.rates {
                    show("probes", &Thousandths(options.rates.probes().get()))?;
                }
                if options.max_age != default.max_age {
                    show("max_age_ms", &options.max_age.get().as_millis())?;
                }
                if options.rif_quantile_permille != default.rif_quantile_permille {
                    show("rif_quantile", &Thousandths(options.rif_quantile_permille.get()))?;
                }
                Ok(())
            }
            Self::Consistent { replicas, .. } if *replicas != REPLICAS => show("replicas", replicas),
            _ => Ok(()),
        }
    }
}

/// Formats thousandths in the form that [`thousandths`] reads.
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
        deserializer.deserialize_str(Text::new())
    }
}

/// A serde visitor that reads a string and parses it as a `T`, with the `FromStr` of `T`.
#[cfg(feature = "serde")]
pub(super) struct Text<T>(core::marker::PhantomData<T>);

#[cfg(feature = "serde")]
impl<T> Text<T> {
    pub(super) const fn new() -> Self {
        Self(core::marker::PhantomData)
    }
}

#[cfg(feature = "serde")]
impl<T: FromStr<Err = BalancerError>> serde::de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a balancer, perhaps with parameters, as in p2c:choices=4")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The wrong part of a text, cut to its first 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    start: heapless::String<32>,
    cut: bool,
}

impl Word {
    pub(super) fn new(text: &str) -> Self {
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

/// The reason why a text does not name a balancer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BalancerError {
    /// No balancer has this name.
    Name {
        /// The name in the text.
        name: Word,
    },
    /// The balancer has no parameter with this key.
    Key {
        /// The name of the balancer.
        name: &'static str,
        /// The key in the text.
        key: Word,
        /// The keys that the balancer has.
        keys: &'static [&'static str],
    },
    /// A parameter has no `=` and therefore no value.
    NoValue {
        /// The name of the balancer.
        name: &'static str,
        /// The parameter in the text.
        key: Word,
    },
    /// The parameters are separated by something other than spaces.
    Separator {
        /// The name of the balancer.
        name: &'static str,
        /// The parameters in the text.
        parameters: Word,
    },
    /// The colon between the name and the parameters is missing.
    NoColon {
        /// The name of the balancer.
        name: &'static str,
        /// The parameters in the text.
        parameters: Word,
    },
    /// A parameter is given twice.
    Twice {
        /// The name of the balancer.
        name: &'static str,
        /// The key of the parameter.
        key: &'static str,
    },
    /// A parameter has a value that is not allowed.
    Value {
        /// The name of the balancer.
        name: &'static str,
        /// The key of the parameter.
        key: &'static str,
        /// The value in the text.
        value: Word,
        /// The allowed values, as a range in mathematical notation or in words.
        range: &'static str,
    },
    /// A parameter that must be given is missing.
    Missing {
        /// The name of the group.
        name: &'static str,
        /// The key of the parameter.
        key: &'static str,
        /// A text with all parameters that must be given.
        example: &'static str,
    },
    /// A group is inside of another group in which it cannot be.
    Inside {
        /// The name of the inner group.
        name: &'static str,
        /// The name of the outer group.
        outer: &'static str,
    },
    /// Groups by name need memory on the heap. In fixed memory, use the type
    /// [`Grouped`](crate::balance::grouped::Grouped).
    NoHeap,
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
                        list(f, BalancerName::NAMES)?;
                        f.write_str("; around them: subset, locality")
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
                let within = if range.starts_with(['[', '(']) { "in " } else { "" };
                write!(f, "{name}: {key}={}: must be {within}{range}", value.start)
            }
            Self::Missing { name, key, example } => write!(f, "{name}: {key} is missing, as in {example}"),
            Self::Inside { name: "locality", outer: "subset" } => {
                f.write_str("locality cannot be inside of subset; write locality:zone=a of=subset:size=20 of=p2c")
            }
            Self::Inside { name, outer } => write!(f, "{name} cannot be inside of {outer}; leave one out"),
            Self::NoHeap => {
                f.write_str("subset and locality by name need the heap; in fixed memory use the type Grouped")
            }
            Self::Ring(error) => error.fmt(f),
        }
    }
}

/// Formats the parameters with spaces between them.
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
        let known = "known are rr, wrr, random, wr, la, p2c, prequal, c_murmurhash, c_md5, c_ketama; around them: subset, locality";
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

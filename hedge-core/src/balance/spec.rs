//! Balancers by name, perhaps within groups of servers: [`BalancerSpec`] ([S1](crate::rules#S1)).

use core::fmt;
use core::str::FromStr;

use super::grouped::{Grouping, LocalityOptions, SubsetOptions, SubsetSize, Zone};
use super::name::{SEPARATORS, bounded, number};
use super::{BalancerError, BalancerName, Word};

/// A balancer together with its parameters, and the groups of servers in which it works.
///
/// As text, this is the text of a [`BalancerName`], or one of these:
///
/// | text | meaning |
/// |---|---|
/// | `subset:size=20 of=p2c` | the client uses 20 servers ([S9](crate::rules#S9)) |
/// | `subset:size=20 id=7 of=p2c` | the same; this client has the number 7 |
/// | `locality:zone=a of=p2c` | levels by priority and zone; the client is in zone `a` ([S10](crate::rules#S10)) |
/// | `locality:of=p2c` | levels by priority alone |
/// | `locality:zone=a of=subset:size=20 of=p2c` | levels, and in each level a subset |
///
/// `of` comes last. Everything behind it is the text of the balancer inside, so `subset:size=20 of=p2c:choices=4` is
/// possible too. `size` is in \[1, 32768\], `id` in \[0, 4294967295\], and a zone has 1 to 63 bytes.
///
/// ```
/// use hedge_core::balance::BalancerSpec;
///
/// let spec: BalancerSpec = "subset:size=20 of=p2c:choices=4".parse()?;
/// assert_eq!(spec.to_string(), "subset:size=20 of=p2c:choices=4");
/// let error = "subset:of=p2c".parse::<BalancerSpec>().unwrap_err();
/// assert_eq!(error.to_string(), "subset: size is missing, as in subset:size=20 of=p2c");
/// # Ok::<(), hedge_core::balance::BalancerError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BalancerSpec {
    /// The groups in which the balancer works. The default is one group with all servers.
    pub grouping: Grouping,
    /// The balancer of each group.
    pub of: BalancerName,
}

impl From<BalancerName> for BalancerSpec {
    fn from(of: BalancerName) -> Self {
        Self { grouping: Grouping::default(), of }
    }
}

/// A kind of groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Locality,
    Subset,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Locality => "locality",
            Self::Subset => "subset",
        }
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Locality => &["zone", "of"],
            Self::Subset => &["size", "id", "of"],
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Locality => "locality:zone=a of=p2c",
            Self::Subset => "subset:size=20 of=p2c",
        }
    }

    /// Returns the kind with which a text begins, and the parameters. Returns `None` if the text begins with no kind.
    fn begins(text: &str) -> Option<Result<(Self, &str), BalancerError>> {
        let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let (name, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        let kind = [Self::Locality, Self::Subset].into_iter().find(|kind| kind.name() == name)?;
        let rest = rest.trim_start();
        Some(match rest.strip_prefix(':') {
            Some(parameters) => Ok((kind, parameters)),
            None if rest.is_empty() => Ok((kind, "")),
            None => Err(BalancerError::NoColon { name: kind.name(), parameters: Word::new(rest) }),
        })
    }
}

/// The parameters that were read so far from the text of one [`Kind`] (`locality` or `subset`).
#[derive(Default)]
struct Parameters {
    zone: Option<Zone>,
    size: Option<SubsetSize>,
    id: Option<u32>,
}

impl Parameters {
    /// Reads parameters up to `of`. Returns them, and the text of the balancer inside.
    fn read(kind: Kind, text: &str) -> Result<(Self, &str), BalancerError> {
        let (name, mut read, mut rest) = (kind.name(), Self::default(), text.trim_start());
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix("of=") {
                return Ok((read, inside));
            }
            let (word, behind) = rest.split_once(|it: char| it.is_ascii_whitespace()).unwrap_or((rest, ""));
            if word.split_once(SEPARATORS).is_some_and(|(_, more)| more.is_empty() || more.contains('=')) {
                return Err(BalancerError::Separator { name, parameters: Word::new(text) });
            }
            let (key, value) =
                word.split_once('=').ok_or_else(|| BalancerError::NoValue { name, key: Word::new(word) })?;
            read.set(kind, key, value)?;
            rest = behind.trim_start();
        }
        Err(BalancerError::Missing { name, key: "of", example: kind.example() })
    }

    fn set(&mut self, kind: Kind, key: &str, value: &str) -> Result<(), BalancerError> {
        let name = kind.name();
        let bad = |key, range| BalancerError::Value { name, key, value: Word::new(value), range };
        let (key, again) = match (kind, key) {
            (Kind::Locality, "zone") => {
                let zone = value.parse().map_err(|_| bad("zone", "1 to 63 bytes, without blanks"))?;
                ("zone", self.zone.replace(zone).is_some())
            }
            (Kind::Subset, "size") => {
                let size = bounded(number(value)).ok_or_else(|| bad("size", "[1, 32768]"))?;
                ("size", self.size.replace(size).is_some())
            }
            (Kind::Subset, "id") => {
                let id = number(value).ok_or_else(|| bad("id", "[0, 4294967295]"))?;
                ("id", self.id.replace(id).is_some())
            }
            _ => return Err(BalancerError::Key { name, key: Word::new(key), keys: kind.keys() }),
        };
        if again { Err(BalancerError::Twice { name, key }) } else { Ok(()) }
    }

    /// Adds the groups of this kind to `grouping`.
    fn apply(self, kind: Kind, grouping: &mut Grouping) -> Result<(), BalancerError> {
        match kind {
            // A level may contain a subset, but a subset may not contain levels: it might have few servers of the
            // client's own zone.
            _ if grouping.subset.is_some() => Err(BalancerError::Inside { name: kind.name(), outer: "subset" }),
            Kind::Locality if grouping.locality.is_some() => {
                Err(BalancerError::Inside { name: kind.name(), outer: "locality" })
            }
            Kind::Locality => {
                grouping.locality = Some(LocalityOptions { zone: self.zone });
                Ok(())
            }
            Kind::Subset => {
                let missing = BalancerError::Missing { name: kind.name(), key: "size", example: kind.example() };
                grouping.subset = Some(SubsetOptions { size: self.size.ok_or(missing)?, id: self.id });
                Ok(())
            }
        }
    }
}

impl FromStr for BalancerSpec {
    type Err = BalancerError;

    fn from_str(text: &str) -> Result<Self, BalancerError> {
        let (mut text, mut grouping) = (text.trim(), Grouping::default());
        // At most two kinds can be nested, so this ends.
        while let Some(begins) = Kind::begins(text) {
            let (kind, parameters) = begins?;
            let (parameters, inside) = Parameters::read(kind, parameters)?;
            parameters.apply(kind, &mut grouping)?;
            text = inside.trim();
        }
        Ok(Self { grouping, of: text.parse()? })
    }
}

impl fmt::Display for BalancerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(locality) = &self.grouping.locality {
            f.write_str("locality:")?;
            if let Some(zone) = &locality.zone {
                write!(f, "zone={zone} ")?;
            }
            f.write_str("of=")?;
        }
        if let Some(subset) = &self.grouping.subset {
            write!(f, "subset:size={} ", subset.size)?;
            if let Some(id) = subset.id {
                write!(f, "id={id} ")?;
            }
            f.write_str("of=")?;
        }
        self.of.fmt(f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for BalancerSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for BalancerSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(super::name::Text::new())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    #[test]
    fn s9_s10_groups_are_read_and_shown_as_they_are_written() {
        for text in [
            "p2c:choices=4",
            "subset:size=20 of=p2c",
            "subset:size=32768 id=4294967295 of=c_murmurhash:replicas=10",
            "locality:zone=eu-1 of=la",
            "locality:of=rr",
            "locality:zone=a of=subset:size=1 id=0 of=wrr:default_weight=3",
        ] {
            assert_eq!(text.parse::<BalancerSpec>().map(|spec| spec.to_string()).as_deref(), Ok(text));
        }
        let spaced = " locality : zone=a  of= subset: id=3 size=2  of=p2c ".parse::<BalancerSpec>();
        assert_eq!(spaced.map(|spec| spec.to_string()).as_deref(), Ok("locality:zone=a of=subset:size=2 id=3 of=p2c"));
    }

    #[test]
    fn s9_s10_a_text_with_a_mistake_says_what_is_wrong() {
        let error = |text: &str| text.parse::<BalancerSpec>().map_or_else(|error| error.to_string(), |_| String::new());
        for (text, expected) in [
            ("subset", "subset: of is missing, as in subset:size=20 of=p2c"),
            ("subset:size=20", "subset: of is missing, as in subset:size=20 of=p2c"),
            ("locality:zone=a", "locality: of is missing, as in locality:zone=a of=p2c"),
            ("subset:of=p2c", "subset: size is missing, as in subset:size=20 of=p2c"),
            ("subset size=2 of=p2c", "subset: parameters follow a colon; write subset:size=2 of=p2c"),
            ("subset:size=0 of=p2c", "subset: size=0: must be in [1, 32768]"),
            ("subset:size=32769 of=p2c", "subset: size=32769: must be in [1, 32768]"),
            ("subset:id=-1 of=p2c", "subset: id=-1: must be in [0, 4294967295]"),
            ("subset:size=2 size=3 of=p2c", "subset: parameter size is given twice; leave one out"),
            ("subset:zone=a of=p2c", "subset has no parameter \"zone\"; known are size, id, of"),
            (
                "subset:size=2,id=3 of=p2c",
                "subset: parameters are separated by blanks; write subset:size=2 id=3 of=p2c",
            ),
            ("subset:size of=p2c", "subset: parameter \"size\" has no value; write key=value, without blanks"),
            ("locality:zone= of=p2c", "locality: zone=: must be 1 to 63 bytes, without blanks"),
            ("subset:size=2 of=p2c:choice=3", "p2c has no parameter \"choice\"; known are choices, tau_ms"),
            ("subset:size=2 of=subset:size=1 of=rr", "subset cannot be inside of subset; leave one out"),
            (
                "subset:size=2 of=locality:zone=a of=rr",
                "locality cannot be inside of subset; write locality:zone=a of=subset:size=20 of=p2c",
            ),
            ("locality:of=locality:of=rr", "locality cannot be inside of locality; leave one out"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert!(error("subset:size=2 of=").starts_with("no balancer is named \"\""));
        assert!(error("fastest").ends_with("around them: subset, locality"));
        assert!(error(&std::format!("locality:zone={} of=rr", "z".repeat(64))).contains("1 to 63 bytes"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn s9_a_subset_is_read_from_configuration() {
        let spec: BalancerSpec = serde_json::from_str("\"subset:size=2 of=p2c\"").unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), "\"subset:size=2 of=p2c\"");
        let error = serde_json::from_str::<BalancerSpec>("\"subset:size=0 of=p2c\"").unwrap_err().to_string();
        assert!(error.starts_with("subset: size=0: must be in [1, 32768]"), "{error}");
    }
}

//! What the words of a server's tag state, such as its zone and its priority: [`TagWords`].

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

/// What a server's tag states ([S10](crate::rules#S10)).
///
/// A tag consists of words with blanks between them. These words have a meaning:
///
/// | word | meaning |
/// |---|---|
/// | `weight=3`, or `3` | the weight, from 1 to 4294967295. `weight=0` counts as 1, as in a DNS SRV record |
/// | `zone=eu-1` | the zone in which the server is |
/// | `priority=1` | the priority, from 0 to 4294967295. The lowest number is used first. Without this word it is 0 |
/// | `partition=2/8`, or `2/8` | the partition: its index, which counts from 0, and the number of partitions |
/// | `tls_name=a.example` | the name in the server's certificate |
///
/// All other words are ignored, so a tag may have words of its own, such as `canary` or `version=7`.
///
/// Cost: one pass over the tag, and no allocation. The texts are borrowed from the tag.
///
/// ```
/// use hedge_core::balance::TagWords;
///
/// let words = TagWords::parse("zone=eu-1 priority=1 weight=5")?;
/// assert_eq!((words.zone, words.priority, words.weight.map(|it| it.get())), (Some("eu-1"), 1, Some(5)));
/// let error = TagWords::parse("zone=eu-1 priority=high").unwrap_err();
/// assert_eq!(error.to_string(), "tag: priority must be an integer in [0, 4294967295]");
/// # Ok::<(), hedge_core::balance::TagError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct TagWords<'a> {
    /// The weight. `None` if the tag states no weight.
    pub weight: Option<NonZeroU32>,
    /// The zone. `None` if the tag states no zone.
    pub zone: Option<&'a str>,
    /// The priority; 0 if the tag states no priority. Servers with the lowest number are used first.
    pub priority: u32,
    /// The partition. `None` if the tag states no partition.
    pub partition: Option<Partition>,
    /// The name that a TLS certificate of the server must have. `None` if the tag states no name.
    pub tls_name: Option<&'a str>,
}

impl<'a> TagWords<'a> {
    /// Reads a tag.
    ///
    /// # Errors
    /// Returns an error if a word with a meaning has a value that is not allowed, or if the tag states the same thing
    /// twice.
    pub fn parse(tag: &'a str) -> Result<Self, TagError> {
        let mut words = Self::default();
        let mut priority = None;
        for word in tag.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("weight", value)) => once(&mut words.weight, weight(value)?, TagKey::Weight)?,
                Some(("zone", value)) => once(&mut words.zone, text(value, TagKey::Zone)?, TagKey::Zone)?,
                Some(("priority", value)) => {
                    let value = number(value).ok_or(TagError::Value(TagKey::Priority))?;
                    once(&mut priority, value, TagKey::Priority)?;
                }
                Some(("partition", value)) => {
                    let value = value.parse().map_err(|_| TagError::Value(TagKey::Partition))?;
                    once(&mut words.partition, value, TagKey::Partition)?;
                }
                Some(("tls_name", value)) => {
                    once(&mut words.tls_name, text(value, TagKey::TlsName)?, TagKey::TlsName)?;
                }
                Some(_) => {}
                None => words.bare(word)?,
            }
        }
        words.priority = priority.unwrap_or(0);
        Ok(words)
    }

    /// Reads a word without a key: an integer is the weight, `i/n` is the partition, and other words are ignored.
    fn bare(&mut self, word: &str) -> Result<(), TagError> {
        if is_number(word) {
            let weight = number(word).and_then(NonZeroU32::new).ok_or(TagError::Value(TagKey::Weight))?;
            return once(&mut self.weight, weight, TagKey::Weight);
        }
        match word.split_once('/') {
            Some((index, count)) if is_number(index) && is_number(count) => {
                let partition = word.parse().map_err(|_| TagError::Value(TagKey::Partition))?;
                once(&mut self.partition, partition, TagKey::Partition)
            }
            _ => Ok(()),
        }
    }
}

/// Sets a value that a tag may state only once.
fn once<T>(place: &mut Option<T>, value: T, key: TagKey) -> Result<(), TagError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(TagError::Twice(key)),
    }
}

fn weight(value: &str) -> Result<NonZeroU32, TagError> {
    let weight = number::<u32>(value).ok_or(TagError::Value(TagKey::Weight))?;
    Ok(NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN))
}

fn text(value: &str, key: TagKey) -> Result<&str, TagError> {
    if value.is_empty() { Err(TagError::Value(key)) } else { Ok(value) }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a number without a sign.
fn number<N: FromStr>(value: &str) -> Option<N> {
    if is_number(value) { value.parse().ok() } else { None }
}

/// One partition of the data. Each partition is held by a group of servers. The index of the partition and the number
/// of partitions identify it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Partition {
    index: u32,
    count: NonZeroU32,
}

impl Partition {
    /// Makes a partition. Returns `None` if `index` is not below `count`.
    #[must_use]
    pub fn new(index: u32, count: u32) -> Option<Self> {
        let count = NonZeroU32::new(count)?;
        (index < count.get()).then_some(Self { index, count })
    }

    /// Returns the index of the partition. It is below the number of partitions.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Returns the number of partitions.
    #[must_use]
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }
}

impl FromStr for Partition {
    type Err = TagError;

    /// Reads `i/n`.
    fn from_str(text: &str) -> Result<Self, TagError> {
        let read = || {
            let (index, count) = text.split_once('/')?;
            Self::new(number(index)?, number(count)?)
        };
        read().ok_or(TagError::Value(TagKey::Partition))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A thing that a tag can state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TagKey {
    /// The weight.
    Weight,
    /// The zone.
    Zone,
    /// The priority.
    Priority,
    /// The partition.
    Partition,
    /// The name in the server's certificate.
    TlsName,
}

impl TagKey {
    const fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Zone => "zone",
            Self::Priority => "priority",
            Self::Partition => "partition",
            Self::TlsName => "tls_name",
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Weight => "an integer in [1, 4294967295]",
            Self::Zone | Self::TlsName => "a text that is not empty",
            Self::Priority => "an integer in [0, 4294967295]",
            Self::Partition => "i/n with i below n, as in 0/4",
        }
    }
}

/// The reason why a tag cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TagError {
    /// The value is not allowed.
    Value(TagKey),
    /// The tag states this twice.
    Twice(TagKey),
}

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(key) => write!(f, "tag: {} must be {}", key.name(), key.wanted()),
            Self::Twice(key) => write!(f, "tag: {} is stated twice; leave one out", key.name()),
        }
    }
}

impl core::error::Error for TagError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    #[test]
    fn s10_the_words_of_a_tag_state_weight_zone_priority_partition_and_name() {
        let all = "zone=eu-1 5 canary priority=2 version=7 tls_name=a.example 3/8";
        let words = TagWords::parse(all).unwrap();
        assert_eq!((words.weight.map(NonZeroU32::get), words.zone, words.priority), (Some(5), Some("eu-1"), 2));
        assert_eq!((words.partition, words.tls_name), (Partition::new(3, 8), Some("a.example")));
        assert_eq!(
            words.partition.map(|it| (it.index(), it.count().get(), it.to_string())),
            Some((3, 8, "3/8".into()))
        );
        assert_eq!(TagWords::parse("partition=3/8 weight=7").unwrap().partition, Partition::new(3, 8));
        for ignored in ["", "  ", "canary", "a/b", "1/x", "/", "=", "=3", "Zone=a", "weight", "1.5", "-1", "+5"] {
            assert_eq!(TagWords::parse(ignored), Ok(TagWords::default()), "{ignored:?}");
        }
    }

    #[test]
    fn s10_a_weight_of_0_in_words_counts_as_1() {
        assert_eq!(TagWords::parse("weight=0 priority=0").unwrap().weight, Some(NonZeroU32::MIN));
    }

    #[test]
    fn s10_a_word_with_a_wrong_value_says_what_it_must_be() {
        let error = |tag: &str| TagWords::parse(tag).map_or_else(|error| error.to_string(), |_| String::new());
        for (tag, expected) in [
            ("weight=", "tag: weight must be an integer in [1, 4294967295]"),
            ("weight=-1", "tag: weight must be an integer in [1, 4294967295]"),
            ("weight=+1", "tag: weight must be an integer in [1, 4294967295]"),
            ("weight=4294967296", "tag: weight must be an integer in [1, 4294967295]"),
            ("4294967296", "tag: weight must be an integer in [1, 4294967295]"),
            ("0", "tag: weight must be an integer in [1, 4294967295]"),
            ("zone=", "tag: zone must be a text that is not empty"),
            ("tls_name=", "tag: tls_name must be a text that is not empty"),
            ("priority=high", "tag: priority must be an integer in [0, 4294967295]"),
            ("8/8", "tag: partition must be i/n with i below n, as in 0/4"),
            ("0/0", "tag: partition must be i/n with i below n, as in 0/4"),
            ("partition=3", "tag: partition must be i/n with i below n, as in 0/4"),
            ("3 weight=3", "tag: weight is stated twice; leave one out"),
            ("zone=a zone=b", "tag: zone is stated twice; leave one out"),
            ("priority=0 priority=0", "tag: priority is stated twice; leave one out"),
            ("0/2 partition=0/2", "tag: partition is stated twice; leave one out"),
        ] {
            assert_eq!(error(tag), expected, "{tag:?}");
        }
    }

    #[test]
    fn s10_any_text_is_read_or_refused() {
        let mut rng = fastrand::Rng::with_seed(11);
        let words =
            ["weight=", "zone=", "priority=", "partition=", "tls_name=", "=", "/", " ", "\t", "7", "é", "x", "-"];
        for _ in 0..20_000 {
            let tag: String = (0..rng.usize(..9)).map(|_| words[rng.usize(..words.len())]).collect();
            if let Ok(read) = TagWords::parse(&tag) {
                assert!(read.zone.is_none_or(|zone| tag.contains(zone)), "{tag:?}");
                assert!(read.partition.is_none_or(|it| it.index() < it.count().get()), "{tag:?}");
            }
        }
    }
}

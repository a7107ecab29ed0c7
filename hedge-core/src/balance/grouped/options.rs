//! How servers are grouped: [`Grouping`].

use core::fmt;
use core::str::FromStr;

use crate::bounded::Bounded;

/// Which groups a [`Grouped`](super::Grouped) makes of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Grouping {
    /// If set, servers are grouped into levels by priority and zone ([S10](crate::rules#S10)). Otherwise all servers
    /// are in one level.
    pub locality: Option<LocalityOptions>,
    /// If set, only a subset of each level is used ([S9](crate::rules#S9)).
    pub subset: Option<SubsetOptions>,
}

/// The options of `locality`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LocalityOptions {
    /// The client's own zone. Among servers of the same priority, those of this zone are used first. `None`: only the
    /// priority counts.
    pub zone: Option<Zone>,
}

/// The type of the size of a subset.
pub type SubsetSize = Bounded<1, 32_768>;

/// The options of `subset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SubsetOptions {
    /// How many servers the client uses of each level ([S10](crate::rules#S10)). Without `locality`, the list is one level.
    /// If a level has fewer servers, the client uses all of them.
    pub size: SubsetSize,
    /// The client's number among the clients of these servers. Use the numbers from 0 on, each for one client. `None`:
    /// the number is drawn from the balancer's seed. Drawn numbers spread clients less evenly.
    pub id: Option<u32>,
}

/// The name of a zone: 1 to 63 bytes, without blanks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Zone {
    /// The maximum length of a name, in bytes.
    pub const MAX: usize = 63;

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let mut bytes = [0; Self::MAX];
        let len = u8::try_from(text.len()).map_err(|_| ZoneError)?;
        let place = bytes.get_mut(..text.len()).ok_or(ZoneError)?;
        if text.is_empty() || text.contains(|character: char| character.is_ascii_whitespace()) {
            return Err(ZoneError);
        }
        place.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, len })
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Zone {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

/// The text is not the name of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ZoneError;

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zone: must be 1 to 63 bytes, without blanks")
    }
}

impl core::error::Error for ZoneError {}

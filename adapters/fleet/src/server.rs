//! One server: [`Server`], and its text form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, AddressError};

/// A server: its address, and a tag that distinguishes it from other servers at the same address.
///
/// The text form of a server is `address tag`, or `address` alone if the tag is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Server {
    /// The address to which connections are made.
    pub address: Address,
    /// The tag, which may be empty. Two servers at the same address with different tags have separate statistics. But
    /// in the docs, "another server" means a server at another address.
    pub tag: Arc<str>,
}

/// The maximum number of servers in a list of [`Server`]s. This is half of all slots. The other half is for servers
/// that calls name themselves ([S8](hedge_core::rules#S8)).
pub const MAX_SERVERS: u16 = 0x8000;

impl Server {
    /// Makes a server from its address and its tag.
    pub fn new(address: impl Into<Address>, tag: impl Into<Arc<str>>) -> Self {
        Self { address: address.into(), tag: tag.into() }
    }
}

impl<A: Into<Address>> From<A> for Server {
    /// Makes a server without a tag.
    fn from(address: A) -> Self {
        Self::new(address, "")
    }
}

impl FromStr for Server {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (address, tag) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Ok(Self::new(address.parse::<Address>()?, tag.trim()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.tag.is_empty() { Ok(()) } else { write!(f, " {}", self.tag) }
    }
}

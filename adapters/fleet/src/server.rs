//! One server: [`Server`], and its text form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::address::{Address, AddressError};

/// A server: its address, and a tag that distinguishes it from other servers at the same address.
///
/// Its text form is `address tag`, or `address` alone if the tag is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Server {
    /// Its address.
    pub address: Address,
    /// Its tag, which may be empty. Servers that differ only in the tag have statistics of their own, but "another
    /// server" means another address.
    pub tag: Arc<str>,
}

impl Server {
    /// A server with a tag.
    pub fn new(address: impl Into<Address>, tag: impl Into<Arc<str>>) -> Self {
        Self { address: address.into(), tag: tag.into() }
    }
}

impl<A: Into<Address>> From<A> for Server {
    /// Without a tag.
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

//! One attempt at one server: the connections to the server, sending, and what becomes of an answer that is not read.

pub(crate) mod drain;
#[cfg(feature = "http2")]
pub(crate) mod http2;
pub(crate) mod pool;
pub(crate) mod sending;
pub(crate) mod source;

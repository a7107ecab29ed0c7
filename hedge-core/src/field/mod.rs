//! Reads fields of configuration files. An error names the field and its value, and says what to write.

pub(crate) mod named;
pub(crate) mod table;
pub(crate) mod tagged;

//! How the fields of files are read: errors name the field, its value, and what to write.

pub(crate) mod named;
pub(crate) mod table;
pub(crate) mod tagged;

//! What is wrong with a service config.

use core::fmt;

/// A field of a service config that A6 does not allow, or that there is no room for.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServiceConfigError<'a> {
    /// Which entry of `methodConfig` it is in, if it is in one.
    pub method_config: Option<usize>,
    /// Its name, as in the document.
    pub field: &'static str,
    /// What it is.
    pub value: Value<'a>,
    /// What it may be.
    pub range: Range,
}

/// A value as a document states it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Value<'a> {
    /// The value is absent or null.
    #[default]
    Missing,
    /// A number.
    Number(f64),
    /// Text.
    Text(&'a str),
    /// Text with escapes (or, in formats other than JSON, text that is not in the document as it is). It cannot be borrowed
    /// from the document, and reading does not allocate.
    Escaped,
    /// Anything else.
    Other,
}

/// What a value may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Range {
    /// In words.
    Is(&'static str),
    /// A list of at most so many.
    AtMost(usize),
}

impl<'a> ServiceConfigError<'a> {
    pub(super) const fn new(field: &'static str, value: Value<'a>, range: &'static str) -> Self {
        Self { method_config: None, field, value, range: Range::Is(range) }
    }

    /// A list that is longer than there is room for.
    pub(super) const fn too_many(field: &'static str, capacity: usize) -> Self {
        Self { method_config: None, field, value: Value::Other, range: Range::AtMost(capacity) }
    }

    /// The same, in an entry of `methodConfig`.
    pub(super) const fn within(self, method_config: usize) -> Self {
        Self { method_config: Some(method_config), ..self }
    }
}

impl fmt::Display for ServiceConfigError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.method_config {
            write!(f, "methodConfig[{index}]: ")?;
        }
        f.write_str(self.field)?;
        match self.value {
            Value::Missing => f.write_str(" is missing")?,
            Value::Number(number) => write!(f, " {number}")?,
            Value::Text(text) => write!(f, " {text:?}")?,
            Value::Escaped => f.write_str(" has escapes, which are not supported")?,
            Value::Other => {}
        }
        match self.range {
            Range::Is(range) => write!(f, ": must be {range}"),
            Range::AtMost(capacity) => write!(f, ": there is room for {capacity}"),
        }
    }
}

impl core::error::Error for ServiceConfigError<'_> {}

//! The error for a service config that is not valid.

use core::fmt;

/// The error for a field of a service config. The field has a value that is not allowed, or there is no room for the
/// value.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServiceConfigError<'a> {
    /// The index of the entry of `methodConfig` that contains the field. `None` if the field is in no entry.
    pub method_config: Option<usize>,
    /// The name of the field in the document.
    pub field: &'static str,
    /// The value of the field in the document.
    pub value: Value<'a>,
    /// The values that the field may have.
    pub range: Range,
}

/// A value in a document.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Value<'a> {
    /// The value is absent or null.
    #[default]
    Missing,
    /// The value is a number.
    Number(f64),
    /// The value is text.
    Text(&'a str),
    /// Text that cannot be borrowed from the document, for example because it has escapes. Formats other than JSON may
    /// store text in another form, which cannot be borrowed either. Such text is refused, since reading does not
    /// allocate.
    Escaped,
    /// A value of any other kind, such as a list or a boolean.
    Other,
}

/// The values that a field may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Range {
    /// The values in words. The words follow "must be" in the message.
    Is(&'static str),
    /// The field may be a list of at most this many items.
    AtMost(usize),
}

impl<'a> ServiceConfigError<'a> {
    pub(super) const fn new(field: &'static str, value: Value<'a>, range: &'static str) -> Self {
        Self { method_config: None, field, value, range: Range::Is(range) }
    }

    /// Returns the error for a list with more items than fit.
    pub(super) const fn too_many(field: &'static str, capacity: usize) -> Self {
        Self { method_config: None, field, value: Value::Other, range: Range::AtMost(capacity) }
    }

    /// Returns this error with the index of the entry of `methodConfig` that contains the field.
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

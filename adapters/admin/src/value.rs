//! The value of a variable: [`Value`].

use std::fmt;

use crate::text::clean;

/// The value of a variable. A text is shown without credentials and without control characters, and is cut after 200
/// characters.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A number that is not negative.
    Unsigned(u64),
    /// A number.
    Signed(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
}

impl Value {
    /// Returns the value in JSON. JSON has no number that is infinite or not a number, so these are null.
    pub(crate) fn json(&self) -> serde_json::Value {
        match self {
            Self::Unsigned(number) => (*number).into(),
            Self::Signed(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => clean(text).into(),
        }
    }

    pub(crate) const fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&clean(text)),
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from!(u64 => Unsigned, u32 => Unsigned, i64 => Signed, i32 => Signed, f64 => Float, &str => Text, String => Text);

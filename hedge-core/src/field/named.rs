//! Reads fields of configuration files: [`fields`]. An error names the field and its value, and says what to write.

use core::fmt;
use core::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeOwned, Error, Visitor};

/// Makes functions for `deserialize_with` from lines of the form `name: how, field, type, what it must be;`. `how` is
/// [`optional`] or [`required`]. For a [`Ranged`] type, the last part is omitted, since the type itself states its
/// range.
macro_rules! fields {
    ($($name:ident: $how:ident, $field:expr, $type:ty $(, $wanted:expr)?;)*) => {$(
        pub(super) fn $name<'de, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<$crate::field::named::$how::Of<$type>, D::Error> {
            let place = $crate::field::named::fields!(@ $field, $type $(, $wanted)?);
            $crate::field::named::$how::read(deserializer, place)
        }
    )*};
    (@ $field:expr, $type:ty, $wanted:expr) => {
        $crate::field::named::Place::new($field, $wanted)
    };
    (@ $field:expr, $type:ty) => {
        $crate::field::named::Place::of::<$type>($field)
    };
}
pub(crate) use fields;

/// Reads fields that may be absent. Null means the same as absent.
pub(crate) mod optional {
    use serde::Deserialize;

    use super::{Deserializer, FromScalar, Place, Read};

    pub(crate) type Of<T> = Option<T>;

    pub(crate) fn read<'de, T: FromScalar, D: Deserializer<'de>>(
        deserializer: D,
        place: Place,
    ) -> Result<Option<T>, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_option(Read::new(place))
        } else {
            Option::<T::Binary>::deserialize(deserializer).map(|held| held.map(Into::into))
        }
    }
}

/// Reads fields that must have a value.
pub(crate) mod required {
    use serde::Deserialize;

    use super::{Deserializer, Error, FromScalar, Place, Read};

    pub(crate) type Of<T> = T;

    pub(crate) fn read<'de, T: FromScalar, D: Deserializer<'de>>(deserializer: D, place: Place) -> Result<T, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Read::new(place))?.ok_or_else(|| D::Error::custom(place.refusal(&"null")))
        } else {
            T::Binary::deserialize(deserializer).map(Into::into)
        }
    }
}

/// A field's name, and the description of its valid values.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) field: &'static str,
    pub(crate) wanted: Wanted,
}

impl Place {
    pub(crate) const fn new(field: &'static str, wanted: &'static str) -> Self {
        Self { field, wanted: Wanted::Text(wanted) }
    }

    /// Makes the [`Place`] of a field whose valid values are the range that the type `T` states.
    pub(crate) const fn of<T: Ranged>(field: &'static str) -> Self {
        Self { field, wanted: Wanted::Range(T::wanted) }
    }

    /// Returns the error message for a value that is not valid. The message names the field and the value, and says
    /// what the value must be.
    pub(crate) fn refusal<'a>(self, value: &'a dyn fmt::Display) -> impl fmt::Display + use<'a> {
        struct Refusal<'a>(Place, &'a dyn fmt::Display);

        impl fmt::Display for Refusal<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(Place { field, wanted }, value) = self;
                write!(f, "{field} {value}: must be {wanted}")
            }
        }

        Refusal(self, value)
    }
}

/// The description of a field's valid values.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    Text(&'static str),
    Range(fn(&mut fmt::Formatter<'_>) -> fmt::Result),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Range(range) => range(f),
        }
    }
}

/// An error that is about several fields together. `field` is a prefix that is common to the names of these fields. The
/// text of the error is the prefix, followed by the text of `error`.
pub(crate) struct Named<E> {
    pub(crate) field: &'static str,
    pub(crate) error: E,
}

impl<E: fmt::Display> fmt::Display for Named<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field, self.error)
    }
}

/// A type that states the range of its values.
pub trait Ranged {
    /// Writes the range of valid values, as a part of an error message.
    fn wanted(f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// Writes methods of a serde visitor. Each method refuses one kind of value, such as a list, with an error text that
/// names the [`Place`] of the visitor.
macro_rules! refuse {
    ($($visit:ident: $type:ty, $shown:expr;)*) => {$(
        fn $visit<E: serde::de::Error>(self, value: $type) -> Result<Self::Value, E> {
            let shown: fn(&$type) -> &dyn core::fmt::Display = $shown;
            Err(E::custom(self.place().refusal(shown(&value))))
        }
    )*};
    (scalars) => {
        $crate::field::named::refuse! {
            visit_bool: bool, |value| value;
            visit_i64: i64, |value| value;
            visit_u64: u64, |value| value;
            visit_f64: f64, |value| value;
        }
    };
    (null) => {
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Err(E::custom(self.place().refusal(&"null")))
        }

        fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            self.visit_unit()
        }
    };
    (list) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(serde::de::Error::custom(self.place().refusal(&"(a list)")))
        }
    };
}
pub(crate) use refuse;

/// The word that means "switched off" in files.
pub(crate) const OFF: &str = "off";
/// The description of a valid time limit.
pub(crate) const TIME_LIMIT: &str = "a duration above 0 such as \"200ms\" or \"2s\", or \"never\"";
/// The description of a valid backup delay.
pub(crate) const DELAY: &str = "a duration such as \"20ms\" or \"2s\", or \"off\"";
/// The description of a valid duration that is neither a time limit nor a backup delay.
pub(crate) const DURATION: &str = "a duration such as \"20ms\" or \"2s\"";
/// The description of a valid `max_retry`.
pub(crate) const MAX_RETRY: &str = "an integer in [0, 254], in hedge-net and hedge-tower in [0, 7]";
/// The description of a valid `max_backups`.
pub(crate) const MAX_BACKUPS: &str = "an integer in [0, 254], in hedge-net and hedge-tower in [0, 4]";
/// The description of a valid switch.
pub(crate) const SWITCH: &str = "true or false";
pub(crate) const RETRY_TARGETS: &str = "\"another\" or \"same\"";
pub(crate) const EARLY_FAILURES: &str = "\"start_next\" or \"wait\"";
pub(crate) const IDEMPOTENCIES: &str = "\"unset\", \"idempotent\" or \"not_idempotent\"";

/// A value that is neither a map nor a list.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// True or false.
    Bool(bool),
    /// A number without a fraction.
    Integer(i128),
    /// Another number.
    Float(f64),
    /// A text.
    Text(&'a str),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// A type whose values can be read from a field of a file.
pub trait FromScalar: Sized {
    /// The type that is read and written in binary formats instead of this type.
    type Binary: DeserializeOwned + Into<Self>;

    /// Converts a scalar into a value of this type. Returns `None` if the scalar is not valid.
    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self>;

    /// Writes a hint for a scalar that is not valid: either nothing, or `; write …`.
    fn hint(_: &Scalar<'_>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Reads the value of a field. Null reads as `None`.
struct Read<T> {
    place: Place,
    of: PhantomData<T>,
}

impl<T: FromScalar> Read<T> {
    fn new(place: Place) -> Self {
        Self { place, of: PhantomData }
    }

    const fn place(&self) -> Place {
        self.place
    }

    fn scalar<E: Error>(&self, scalar: &Scalar<'_>) -> Result<Option<T>, E> {
        struct Hinted<'a, T>(&'a Scalar<'a>, PhantomData<T>);

        impl<T: FromScalar> fmt::Display for Hinted<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::hint(self.0, f)
            }
        }

        let value = T::from_scalar(scalar);
        value.map(Some).ok_or_else(|| {
            let hint: Hinted<'_, T> = Hinted(scalar, PhantomData);
            E::custom(format_args!("{}{hint}", self.place.refusal(scalar)))
        })
    }
}

impl<'de, T: FromScalar> Visitor<'de> for Read<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.field, self.place.wanted)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<T>, E> {
        self.scalar(&Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<T>, E> {
        self.scalar(&Scalar::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<T>, E> {
        self.scalar(&Scalar::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<T>, E> {
        self.scalar(&Scalar::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<T>, E> {
        self.scalar(&Scalar::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Option<T>, A::Error> {
        Err(A::Error::custom(self.place.refusal(&"(a map)")))
    }

    refuse!(list);
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl FromScalar for $type {
            type Binary = Self;

            fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
                match scalar {
                    Scalar::Integer(value) => (*value).try_into().ok(),
                    _ => None,
                }
            }

            fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                without_quotes::<Self>(scalar, f)
            }
        }
    )*};
}

integers! { u8 u32 i32 u64 }

/// Writes the hint for a number or a bool that is in quotes. Writes nothing for any other value.
fn without_quotes<T: core::str::FromStr>(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match scalar {
        Scalar::Text(value) if value.parse::<T>().is_ok() => write!(f, "; write {value} without quotes"),
        _ => Ok(()),
    }
}

#[cfg(feature = "alloc")]
impl FromScalar for alloc::boxed::Box<str> {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        if let Scalar::Text(text) = scalar { Some((*text).into()) } else { None }
    }
}

impl FromScalar for bool {
    type Binary = Self;

    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        if let Scalar::Bool(value) = scalar { Some(*value) } else { None }
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_quotes::<Self>(scalar, f)
    }
}

impl FromScalar for f64 {
    type Binary = Self;

    #[expect(clippy::cast_precision_loss, reason = "what is in a range of floats here is far below")]
    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self> {
        match scalar {
            Scalar::Float(value) => Some(*value),
            Scalar::Integer(value) => Some(*value as Self),
            Scalar::Bool(_) | Scalar::Text(_) => None,
        }
    }

    fn hint(scalar: &Scalar<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scalar::Text(value) = scalar else { return Ok(()) };
        match value.strip_suffix('%').map(|percent| percent.trim().parse::<Self>()) {
            Some(Ok(percent)) => write!(f, "; write {}", percent / 100.0),
            _ => without_quotes::<Self>(scalar, f),
        }
    }
}

/// Implements [`FromScalar`] for enums without content. Each variant is read from its name.
macro_rules! names {
    ($($type:ty)*) => {$(
        impl $crate::field::named::FromScalar for $type {
            type Binary = Self;

            fn from_scalar(scalar: &$crate::field::named::Scalar<'_>) -> Option<Self> {
                let $crate::field::named::Scalar::Text(name) = scalar else { return None };
                serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name)).ok()
            }
        }
    )*};
}
pub(crate) use names;

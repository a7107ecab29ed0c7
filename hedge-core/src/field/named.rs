//! Reading the fields of files: an error names the field, its value, and what to write ([`fields`]).

use core::fmt;
use core::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeOwned, Error, Visitor};

/// Makes functions for `deserialize_with` from `name: how, field, type, what it must be;`. `how` is [`optional`] or
/// [`required`].
macro_rules! fields {
    ($($name:ident: $how:ident, $field:expr, $type:ty, $wanted:expr;)*) => {$(
        pub(super) fn $name<'de, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<$crate::field::named::$how::Of<$type>, D::Error> {
            $crate::field::named::$how::read(deserializer, $crate::field::named::Place { field: $field, wanted: $wanted })
        }
    )*};
}
pub(crate) use fields;

/// Fields in which null means the same as absence.
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

/// Fields that need a value.
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

/// A field, and what it must be.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) field: &'static str,
    pub(crate) wanted: &'static str,
}

impl Place {
    /// The message that a value is not what it must be.
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

/// Methods with which a visitor that has a [`Place`] refuses kinds of values.
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

/// What time limits must be.
pub(crate) const TIME_LIMIT: &str = "a duration above 0 such as \"200ms\" or \"2s\", or \"never\"";
/// What a backup's delay must be.
pub(crate) const DELAY: &str = "a duration such as \"20ms\" or \"2s\", or \"disabled\"";
/// What other durations must be.
pub(crate) const DURATION: &str = "a duration such as \"20ms\" or \"2s\"";
/// What `max_retry` must be.
pub(crate) const MAX_RETRY: &str = "an integer in [0, 254], in hedge-net and hedge-tower in [0, 7]";
/// What `max_backups` must be.
pub(crate) const MAX_BACKUPS: &str = "an integer in [0, 254], in hedge-net and hedge-tower in [0, 4]";
/// What a switch must be.
pub(crate) const SWITCH: &str = "true or false";
pub(crate) const RETRY_TARGETS: &str = "\"another\" or \"same\"";
pub(crate) const EARLY_FAILURES: &str = "\"start_next\" or \"wait\"";
pub(crate) const IDEMPOTENCIES: &str = "\"unset\", \"idempotent\" or \"not_idempotent\"";

/// A value that is neither a map nor a list.
pub(crate) enum Scalar<'a> {
    Bool(bool),
    Integer(i128),
    Float(f64),
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

/// A type that a field can hold.
pub(crate) trait FromScalar: Sized {
    /// What binary formats hold.
    type Binary: DeserializeOwned + Into<Self>;

    /// The value, if the scalar is a valid one.
    fn from_scalar(scalar: &Scalar<'_>) -> Option<Self>;

    /// A hint for a scalar that is not valid: nothing, or `; write …`.
    fn hint(_: &Scalar<'_>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Reads a field's value; null reads as `None`.
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

/// The hint for a number in quotes.
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

/// Reads enums without content by their names.
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

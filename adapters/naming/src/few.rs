//! A list in JSON whose length is bounded: [`Few`]. A small text can hold many small values, and each takes more memory than
//! its text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// At most `MOST` values. JSON's `null` is an empty list.
#[derive(Debug)]
pub(crate) struct Few<T, const MOST: usize>(pub(crate) Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FewVisitor<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} values")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Few(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        let mut few = Vec::new();
        while let Some(value) = values.next_element()? {
            if few.len() == MOST {
                return Err(A::Error::custom(format_args!("a list has more than {MOST} values")));
            }
            few.push(value);
        }
        Ok(Few(few))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_a_list_has_a_bound() {
        let read = |text| serde_json::from_str::<Few<u8, 2>>(text);
        assert_eq!(read("[1,2]").unwrap().0, [1, 2]);
        assert!(read("null").unwrap().0.is_empty());
        assert!(read("[1,2,3]").unwrap_err().to_string().starts_with("a list has more than 2 values"));
        assert!(read("{}").unwrap_err().to_string().contains("a list of at most 2 values"));
    }
}

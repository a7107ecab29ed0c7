//! gRPC's status codes: [`StatusCodes`].

use super::Value;
use crate::outcome::GRPC_NAMES;

/// A set of gRPC status codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StatusCodes(u32);

impl StatusCodes {
    /// The status code of a call that succeeded.
    pub const OK: u8 = 0;

    /// Returns whether `code` is in the set.
    #[must_use]
    pub const fn contains(self, code: u8) -> bool {
        (code as usize) < GRPC_NAMES.len() && self.0 & (1 << code) != 0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a code. In a document, a code is a number, or a name in upper or lower case. Returns false if the value is
    /// not a code.
    pub(super) fn insert(&mut self, code: Value<'_>) -> bool {
        let known = match code {
            Value::Number(number) => (0_u8..).zip(GRPC_NAMES).find(|(code, _)| f64::from(*code) == number),
            Value::Text(text) => (0_u8..).zip(GRPC_NAMES).find(|(_, name)| name.eq_ignore_ascii_case(text)),
            Value::Missing | Value::Escaped | Value::Other => None,
        };
        let Some((code, _)) = known else { return false };
        self.0 |= 1 << code;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_a_number_and_a_name_in_any_case() {
        for (code, name) in (0_u8..).zip(GRPC_NAMES) {
            for value in [Value::Number(code.into()), Value::Text(name), Value::Text(&name.to_ascii_lowercase())] {
                let mut codes = StatusCodes::default();
                assert!(codes.insert(value) && !codes.is_empty());
                assert!((0..=u8::MAX).all(|other| codes.contains(other) == (other == code)), "{name}");
            }
        }
        for value in [Value::Number(17.0), Value::Number(-1.0), Value::Number(0.5), Value::Text("14"), Value::Other] {
            assert!(!StatusCodes::default().insert(value), "{value:?}");
        }
    }
}

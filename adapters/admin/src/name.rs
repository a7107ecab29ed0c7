//! The name of a channel, of a recorder or of a variable: [`Name`].

use std::error::Error;
use std::fmt;

/// A name in the form of brpc: small letters of ASCII, digits and single underscores.
///
/// Other texts are changed to this form by brpc's rule: a capital letter becomes a small letter, with an underscore
/// before it if the character before it is not a capital letter too. A run of other characters becomes one underscore.
/// So `SearchService` and `search-service` are both `search_service`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(Box<str>);

impl Name {
    /// The maximum length of a name in bytes.
    pub const MAX_LEN: usize = 128;

    /// Makes a name from a text.
    ///
    /// # Errors
    /// Returns an error if the text has no letter and no digit of ASCII, or if the name would be longer than
    /// [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut name = String::new();
        let mut after_capital = true;
        for char in text.chars() {
            let is_capital = char.is_ascii_uppercase();
            let begins_word = is_capital && !after_capital;
            if (begins_word || !char.is_ascii_alphanumeric()) && !name.ends_with('_') {
                name.push('_');
            }
            if char.is_ascii_alphanumeric() {
                name.push(char.to_ascii_lowercase());
            }
            if name.len() > Self::MAX_LEN {
                return Err(NameError::TooLong);
            }
            after_capital = is_capital;
        }
        if name.bytes().all(|byte| byte == b'_') {
            return Err(NameError::Empty);
        }
        Ok(Self(name.into()))
    }

    /// Makes the name of a channel or a recorder. As in brpc, `latency` at the end is left out, since `latency` is a
    /// part of the names of its variables.
    pub(crate) fn of_latencies(text: &str) -> Result<Self, NameError> {
        let Self(name) = Self::new(text)?;
        match name.strip_suffix("_latency") {
            Some(rest) if !rest.is_empty() => Ok(Self(rest.into())),
            _ => Ok(Self(name)),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The reason why a name cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no letter and no digit of ASCII.
    Empty,
    /// The name would be longer than [`Name::MAX_LEN`].
    TooLong,
    /// Something with this name, or with a variable of this name, is already registered.
    Taken {
        /// The name of the variable that is already there.
        variable: String,
    },
    /// The registry is full.
    Full {
        /// How many names the registry has. This is the maximum.
        most: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("name without a letter or digit: use letters of ASCII, digits and underscores"),
            Self::TooLong => write!(f, "name of more than {} bytes", Name::MAX_LEN),
            Self::Taken { variable } => write!(f, "there is already a variable {variable}: choose another name"),
            Self::Full { most } => write!(f, "the registry already has {most} names"),
        }
    }
}

impl Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o1_names_have_the_form_of_brpc() {
        for (text, name) in [
            ("search", "search"),
            ("SearchService", "search_service"),
            ("search-service.v2", "search_service_v2"),
            ("HTTPClient", "httpclient"),
            ("rpc::Server", "rpc_server"),
            ("a__b", "a_b"),
            ("10.0.0.1:80", "10_0_0_1_80"),
            ("<script>", "_script_"),
        ] {
            assert_eq!(Name::new(text).unwrap().as_str(), name, "{text}");
        }
        assert_eq!(Name::of_latencies("my_func_latency").unwrap().as_str(), "my_func");
        assert_eq!(Name::of_latencies("latency").unwrap().as_str(), "latency");
    }

    #[test]
    fn o1_a_text_without_a_letter_and_a_long_text_are_no_names() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("-é-"), Err(NameError::Empty));
        assert!(Name::new(&"a".repeat(128)).is_ok());
        assert_eq!(Name::new(&"a".repeat(1 << 20)), Err(NameError::TooLong));
    }
}

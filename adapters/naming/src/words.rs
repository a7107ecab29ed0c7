//! Tags of words: [`Words`].

/// The words of a tag, such as `zone=a weight=3`. A word with a blank or a control character is left out, since it would be
/// read as several.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<String>);

impl Words {
    /// Adds one word.
    pub(crate) fn word(&mut self, word: &str) {
        if !word.is_empty() && !word.chars().any(|char| char.is_whitespace() || char.is_control()) {
            self.0.push(word.to_owned());
        }
    }

    /// Adds `key=value`.
    pub(crate) fn pair(&mut self, key: &str, value: &str) {
        if !key.is_empty() && !value.is_empty() {
            self.word(&format!("{key}={value}"));
        }
    }

    /// The tag. Its words are sorted, and each is there once, so that their order in an answer does not matter.
    pub(crate) fn into_tag(mut self) -> String {
        self.0.sort_unstable();
        self.0.dedup();
        self.0.join(" ")
    }
}

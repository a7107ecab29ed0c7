//! Makes text of servers and of the program safe to show ([O3](hedge_core::rules#O3)): without credentials, short, and
//! escaped for HTML.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// How many characters of a text are shown.
const MOST: usize = 200;

/// Returns a text without credentials, without control characters, and with at most [`MOST`] characters.
pub(crate) fn clean(text: &str) -> String {
    // A very long text is cut first. Credentials are then hidden, and after that the text is cut to its final length.
    let cut = text.char_indices().nth(4 * MOST).and_then(|(end, _)| text.get(..end));
    let mut words = cut.unwrap_or(text).split(' ').peekable();
    let mut clean = String::new();
    while let Some(word) = words.next() {
        let is_last = words.peek().is_none();
        let shown = without_credentials(word, is_last && cut.is_some());
        clean.extend(shown.chars().map(|char| if is_shown(char) { char } else { '\u{FFFD}' }));
        if !is_last {
            clean.push(' ');
        }
    }
    if let Some((end, _)) = clean.char_indices().nth(MOST) {
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

/// Returns whether a character is shown. Control characters are not shown, nor are characters that change the direction
/// or the place of the text that follows.
fn is_shown(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Hides the user and the password of a URL or of an address, and the query of a URL. A word such as `user@host` has no
/// password, so it stays. Everything up to the last `@` is hidden, since a password may have any character. If the word
/// is cut, the last `@` may be missing, so the whole word counts as a password.
fn without_credentials(word: &str, is_cut: bool) -> Cow<'_, str> {
    let (scheme, rest) = word.find("://").map_or(("", word), |at| word.split_at(at + 3));
    let is_url = !scheme.is_empty();
    let end = if is_cut { Some(rest.len()) } else { rest.rfind('@') };
    let credentials = end.filter(|at| is_url || rest.get(..*at).is_some_and(|user| user.contains(':')));
    let (hidden, rest) = match credentials {
        Some(at) => ("…", rest.get(at..).unwrap_or_default()),
        None => ("", rest),
    };
    match rest.find(['?', '#']).filter(|_| is_url) {
        Some(at) => Cow::Owned(format!("{scheme}{hidden}{}?…", rest.get(..at).unwrap_or_default())),
        None if hidden.is_empty() => Cow::Borrowed(word),
        None => Cow::Owned(format!("{scheme}{hidden}{rest}")),
    }
}

/// A text in HTML, as content or as the value of an attribute in quotes. `Display` writes it escaped.
pub(crate) struct Html<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Html<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaped(f), "{}", self.0)
    }
}

struct Escaped<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(['&', '<', '>', '"', '\'']) {
            let mut chars = part.chars();
            let escape = match chars.next_back() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                Some('\'') => "&#39;",
                _ => {
                    self.0.write_str(part)?;
                    continue;
                }
            };
            self.0.write_str(chars.as_str())?;
            self.0.write_str(escape)?;
        }
        Ok(())
    }
}

/// A text in a URL: `Display` writes it percent-encoded.
pub(crate) struct Encoded<'a>(pub(crate) &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => f.write_char(byte.into())?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// Receives a text and keeps at most `N` bytes of it. So a `Display` of the program that never ends is stopped.
pub(crate) struct Cut<const N: usize>(pub(crate) String);

impl<const N: usize> Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = N.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(text.get(..end).unwrap_or_default());
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o3_credentials_never_appear() {
        for (text, clean_text) in [
            ("http://user:secret@host:80/path", "http://…@host:80/path"),
            ("http://secret@host", "http://…@host"),
            ("user:se@cret@10.0.0.1:80 canary", "…@10.0.0.1:80 canary"),
            ("tag https://h/p?token=secret#secret", "tag https://h/p?…"),
            ("https://user:secret?secret@host", "https://…@host"),
            ("zone@1", "zone@1"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(clean(text), clean_text);
        }
        let secret = "secret".repeat(1 << 10);
        assert_eq!(clean(&format!("tag http://user:{secret}@host")), "tag http://…", "the `@` is cut off");
        assert_eq!(clean(&format!("user:{secret}@host")), "…");
    }

    #[test]
    fn o3_text_is_escaped_and_bounded() {
        assert_eq!(Html("<b a='x' c=\"y\">&amp;é").to_string(), "&lt;b a=&#39;x&#39; c=&quot;y&quot;&gt;&amp;amp;é");
        assert_eq!(Encoded("a b/é?&").to_string(), "a%20b%2F%C3%A9%3F%26");
        assert_eq!(clean("a\n\u{202E}\0b"), "a\u{FFFD}\u{FFFD}\u{FFFD}b");
        assert_eq!(clean(&"é".repeat(1 << 20)).chars().count(), MOST + 1);
        let mut cut = Cut::<5>(String::new());
        assert!(write!(cut, "é{}", "é".repeat(9)).is_err());
        assert_eq!(cut.0, "éé");
    }
}

//! Keeps secrets out of errors: [`Secrets`].

use hedge_link::Credential;

/// How many secrets are remembered. A token may be replaced while an error still shows the one before it.
const MOST: usize = 4;

/// The secrets that were sent last. A server may repeat what it was sent, and errors are written to logs.
#[derive(Default)]
pub(crate) struct Secrets(Vec<Credential>);

impl Secrets {
    pub(crate) fn remember<'a>(&mut self, secrets: impl Iterator<Item = &'a Credential>) {
        for secret in secrets.filter(|secret| !secret.as_str().is_empty()) {
            if !self.0.contains(secret) {
                self.0.truncate(MOST - 1);
                self.0.insert(0, secret.clone());
            }
        }
    }

    /// The text without the secrets.
    pub(crate) fn without(&self, mut text: String) -> String {
        for secret in &self.0 {
            let secret = secret.as_str();
            // Behind `Bearer` and `Basic`, the token alone is secret too.
            for hidden in [Some(secret), bare(secret)].into_iter().flatten() {
                // As JSON and as Rust's own texts show it, it may have other characters.
                let (json, debug) = (serde_json::Value::from(hidden).to_string(), format!("{hidden:?}"));
                for form in [hidden, unquoted(&json), unquoted(&debug)] {
                    if text.contains(form) {
                        text = text.replace(form, "(hidden)");
                    }
                }
            }
        }
        text
    }
}

/// The token of a header `authorization`.
fn bare(secret: &str) -> Option<&str> {
    let (scheme, token) = secret.split_once(' ')?;
    let is_known = ["bearer", "basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    Some(token.trim()).filter(|token| is_known && !token.is_empty())
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_a_text_does_not_show_a_secret() {
        let mut secrets = Secrets::default();
        let sent = ["Bearer abc", "p w", "", "t3", "t4"].map(Credential::new);
        secrets.remember(sent.iter());
        let text = secrets.without("I got Bearer abc, abc, p w and t3".into());
        assert_eq!(text, "I got (hidden), (hidden), (hidden) and (hidden)");
        assert_eq!(secrets.without("w is no secret".into()), "w is no secret", "a password may have blanks");
        secrets.remember([Credential::new("t5")].iter());
        assert_eq!(secrets.without("t5 abc".into()), "(hidden) abc", "four are remembered");
    }

    #[test]
    fn n1_a_text_does_not_show_a_secret_that_json_writes_in_another_way() {
        for (secret, word) in [("a\"b\\c\"", "a"), ("Basic x\ty\u{7f}", "x")] {
            let mut secrets = Secrets::default();
            secrets.remember([Credential::new(secret)].iter());
            let json = serde_json::json!({ "said": secret }).to_string();
            for text in [json, format!("{secret:?}"), secret.to_owned()] {
                let shown = secrets.without(text);
                assert!(shown.contains("(hidden)") && !shown.replace("said", "").contains(word), "{shown}");
            }
        }
    }
}

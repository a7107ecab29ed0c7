//! Patterns of names, as in brpc's `/vars`: [`Patterns`].

/// How many bytes of patterns are used. The longest name of a variable has 151 bytes. So this bounds the work for one
/// name.
const MOST: usize = 160;

/// One or more patterns, separated by `,` or `;`. In a pattern, `*` stands for any number of characters, and `?` or `$`
/// for one character. (In a path, `?` begins the query. So brpc also takes `$`.) Without a pattern, all names match.
#[derive(Clone, Debug)]
pub(crate) struct Patterns(Vec<Box<[u8]>>);

impl Patterns {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let bytes = bytes.get(..MOST).unwrap_or(bytes);
        let patterns = bytes.split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
        Self(patterns.filter(|pattern| !pattern.is_empty()).map(Into::into).collect())
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| matches(pattern, name.as_bytes()))
    }
}

/// Matches from left to right. After a `*`, a mismatch goes back to that `*` only, so the work is at most the product
/// of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut to) = (0, 0);
    // The place behind the last `*`, and the place in the name from which the rest of the pattern is tried.
    let mut star = None;
    while let Some(byte) = name.get(at) {
        match pattern.get(to) {
            Some(b'*') => {
                to += 1;
                star = Some((to, at));
            }
            Some(b'?' | b'$') => (at, to) = (at + 1, to + 1),
            Some(wanted) if wanted == byte => (at, to) = (at + 1, to + 1),
            _ => {
                let Some((behind, from)) = star else { return false };
                star = Some((behind, from + 1));
                (at, to) = (from + 1, behind);
            }
        }
    }
    pattern.get(to..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o1_wildcards_are_those_of_brpc() {
        for (patterns, name, matched) in [
            ("", "anything", true),
            ("search_qps", "search_qps", true),
            ("search_qps", "search_qp", false),
            ("search_*", "search_qps", true),
            ("*", "", true),
            ("*_qps", "search_qps", true),
            ("*_qps", "search_qps_x", false),
            ("s*h*q*s", "search_qps", true),
            ("s$arch_qp?", "search_qps", true),
            ("s$arch", "search_qps", false),
            ("a,b;search*", "search_qps", true),
            (" a , b ", "b", true),
            ("a*b*c", "aXbXbXd", false),
        ] {
            assert_eq!(Patterns::new(patterns).matches(name), matched, "{patterns} {name}");
        }
    }

    #[test]
    fn o3_the_work_of_a_pattern_is_bounded() {
        let name = "a".repeat(128);
        let patterns = Patterns::new(&format!("{}b", "*a".repeat(1 << 20)));
        assert_eq!(patterns.0.iter().map(|pattern| pattern.len()).sum::<usize>(), MOST);
        let hostile = Patterns::new(&format!("{}b", "a*".repeat(60)));
        assert!((0..10_000).all(|_| !hostile.matches(&name)));
    }
}

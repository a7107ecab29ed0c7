//! The names that a relative name may stand for: [`candidates`].

use hickory_resolver::proto::rr::Name;

/// The absolute names that a name may stand for, in the order in which they are asked for. An absolute name, which ends
/// with a dot, stands for itself. A relative one is tried with each domain of the list `search`, and without a domain.
/// The name without a domain comes first if it has at least `dots` dots, and last otherwise. This is what
/// resolv.conf(5) says.
pub(super) fn candidates(name: &Name, search: &[Name], dots: usize) -> Vec<Name> {
    let mut bare = name.clone();
    bare.set_fqdn(true);
    if name.is_fqdn() {
        return vec![bare];
    }
    // A name that would be too long is left out.
    let longer = search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
    // A name of n labels has n - 1 dots.
    let is_bare_first = usize::from(name.num_labels()) > dots || name.is_localhost();
    let (first, last) = if is_bare_first { (Some(bare), None) } else { (None, Some(bare)) };
    let mut candidates: Vec<Name> = Vec::new();
    for name in first.into_iter().chain(longer).chain(last) {
        if !candidates.contains(&name) {
            candidates.push(name);
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n1_a_relative_name_is_tried_with_each_domain() {
        let all = |name: &str, search: &[&str], dots| -> Vec<String> {
            let search: Vec<_> = search.iter().map(|domain| Name::from_ascii(domain).unwrap()).collect();
            candidates(&Name::from_ascii(name).unwrap(), &search, dots).iter().map(Name::to_ascii).collect()
        };
        let search = ["a.corp", "corp."];
        assert_eq!(all("db1", &search, 1), ["db1.a.corp.", "db1.corp.", "db1."]);
        assert_eq!(all("db1.x", &search, 1), ["db1.x.", "db1.x.a.corp.", "db1.x.corp."]);
        assert_eq!(all("db1.x", &search, 5), ["db1.x.a.corp.", "db1.x.corp.", "db1.x."]);
        assert_eq!(all("db1", &search, 0), ["db1.", "db1.a.corp.", "db1.corp."]);
        assert_eq!(all("db1.", &search, 1), ["db1."], "it is absolute");
        assert_eq!(all("localhost", &search, 1)[0], "localhost.");
        assert_eq!(all("db1", &["."], 1), ["db1."], "the root adds nothing");
        assert_eq!(all("db1", &[], 1), ["db1."]);
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(58));
        assert_eq!(all("db1", &[&long, "corp"], 1), ["db1.corp.", "db1."], "254 octets are too many");
    }
}

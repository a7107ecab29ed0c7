//! The addresses of a host, by family: [`Families`].

use std::net::IpAddr;

use hedge_core::time::Duration;
use hedge_fleet::NamingErrorKind;

use super::AGAIN;
use super::client::{Answer, Records};

/// The last addresses of a host, by family.
#[derive(Clone, Default, Debug)]
pub(super) struct Families {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Families {
    /// Takes over the answers for both families. If only one of them failed, its last addresses stay, since some name
    /// servers cannot answer for IPv6. The result is then valid for 5 s at most, so that it is asked for again soon.
    pub(super) fn take_in(&mut self, v4: Answer<IpAddr>, v6: Answer<IpAddr>) -> Answer<IpAddr> {
        let valid = [&v4, &v6].into_iter().filter_map(|answer| answer.as_ref().ok()?.valid).min();
        let failed = (v4.is_err() || v6.is_err()).then_some(AGAIN);
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => (self.v4, self.v6) = (v4.list, v6.list),
            (Ok(v4), Err(error)) => {
                if v4.list.is_empty() {
                    return Err(error);
                }
                self.v4 = v4.list;
            }
            (Err(error), Ok(v6)) => {
                if v6.list.is_empty() {
                    return Err(error);
                }
                self.v6 = v6.list;
            }
            // That there is no such name says more than another error.
            (Err(_), Err(error)) if error.kind() == NamingErrorKind::NotFound => return Err(error),
            (Err(error), Err(_)) => return Err(error),
        }
        Ok(Records { list: self.all(), valid: shorter(valid, failed) })
    }

    /// The last addresses of both families.
    pub(super) fn all(&self) -> Vec<IpAddr> {
        self.v4.iter().chain(&self.v6).copied().collect()
    }
}

/// The shorter of two times for which records are valid.
pub(super) fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use hedge_fleet::NamingError;

    use super::*;

    fn answer(list: &[&str], ttl: u64) -> Answer<IpAddr> {
        let list: Vec<IpAddr> = list.iter().map(|ip| ip.parse().unwrap()).collect();
        let valid = (!list.is_empty()).then_some(Duration::from_secs(ttl));
        Ok(Records { list, valid })
    }

    fn failure(kind: NamingErrorKind) -> Answer<IpAddr> {
        Err(NamingError::new("dns://a:1", kind))
    }

    #[test]
    fn n2_a_family_that_fails_keeps_its_last_addresses() {
        let mut families = Families::default();
        let mut take = |v4: Answer<IpAddr>, v6: Answer<IpAddr>| {
            let records = families.take_in(v4, v6).map_err(|error| error.kind())?;
            Ok((records.list.len(), records.valid.map(|valid| valid.as_secs())))
        };
        let unreachable = || failure(NamingErrorKind::Unreachable);
        assert_eq!(take(answer(&["10.0.0.1"], 60), unreachable()), Ok((1, Some(5))), "no ipv6 was known");
        assert_eq!(take(answer(&["10.0.0.1"], 60), answer(&["::1"], 30)), Ok((2, Some(30))));
        assert_eq!(
            take(answer(&["10.0.0.1", "10.0.0.2"], 60), unreachable()),
            Ok((3, Some(5))),
            "asked for again soon"
        );
        assert_eq!(take(unreachable(), answer(&["::1", "::2"], 30)), Ok((4, Some(5))));
        assert_eq!(take(answer(&["10.0.0.1"], 2), unreachable()), Ok((3, Some(2))));
        assert_eq!(take(answer(&[], 0), unreachable()), Err(NamingErrorKind::Unreachable), "it may have addresses");
        assert_eq!(take(unreachable(), failure(NamingErrorKind::NotFound)), Err(NamingErrorKind::NotFound));
        assert_eq!(take(answer(&[], 0), answer(&[], 0)), Ok((0, None)), "an answer, and there are none");
    }
}

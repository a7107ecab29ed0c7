//! The servers that one client uses, as an arc of a ring of servers: [`arc`] ([S9](crate::rules#S9)).
//!
//! The servers stand on a ring in the order of the hashes of their addresses, at equal distances. A client stands at a
//! fixed point of the ring, a fraction of it, and uses the next servers from there. This is the ring of Twitter's
//! deterministic aperture (Finagle), where a client must know how many clients there are. Here a client does not have
//! to know this, because the points of the clients 0, 1, 2, … are the multiples of the golden ratio modulo 1. However
//! many clients there are, these points are spread evenly (the three-distance theorem, Sós 1958). Google's "Ringsteady"
//! uses another such sequence for the same purpose (Ward, Wankadia, Guliani: "Reinventing Backend Subsetting at
//! Google", ACM Queue 20(5), 2022).
//!
//! - Balance: a server is used by each client whose point is on the arc before this server. The number of points of a
//!   golden-ratio sequence on an arc differs from its mean by a few, and this difference grows only with the logarithm
//!   of the number of clients. With drawn points the number is binomial.
//! - Moves: when one of m servers comes or goes, the first server of a client at the point x moves by at most one
//!   place, because x·m and x·(m + 1) differ by less than 1. The order of the other servers does not change. So at most
//!   two servers of the client's arc change. On average a change moves a third of a server for each client, since the
//!   positions of clients and servers on the ring shift against each other. If a client uses k servers, rendezvous
//!   hashing would move k/m of a server, which is the least that is possible.
//!
//! Deterministic subsetting (Google's SRE book, 2016) is balanced, but a change of the list moves most servers of most
//! clients. Rendezvous hashing moves at most one server, but with a mean of 50 clients a server, some servers have 1.5
//! times the mean.

/// The golden ratio, as a fraction of 2^64. It is the fractional part of φ, (√5 − 1) / 2.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the point of the client with this number, as a fraction of 2^64.
pub(super) const fn point(id: u32) -> u64 {
    (id as u64).wrapping_mul(GOLDEN)
}

/// Puts the `len` servers of a client first in `servers`, in the order of the ring. `hash` returns the hash of a
/// server. Servers of equal hash are in the order of their numbers. Returns how many servers were put first: `len`, or
/// the number of all servers if there are fewer.
///
/// Cost: linear in the number of servers, and n log n in the number of servers of the arc.
pub(super) fn arc(servers: &mut [u32], client: u64, len: usize, hash: impl Fn(u32) -> u32) -> usize {
    let key = |server: &u32| (hash(*server), *server);
    let len = len.min(servers.len());
    let first = first(client, servers.len());
    nth(servers, first, key);
    let Some((before, behind)) = servers.split_at_mut_checked(first) else { return 0 };
    let wrapped = len.saturating_sub(behind.len());
    nth(behind, len, key);
    nth(before, wrapped, key);
    for part in [behind.get_mut(..len - wrapped), before.get_mut(..wrapped)].into_iter().flatten() {
        part.sort_unstable_by_key(key);
    }
    servers.rotate_left(first);
    len
}

/// Returns the index of a client's first server.
fn first(client: u64, servers: usize) -> usize {
    let first = (u128::from(client) * (servers as u128)) >> 64;
    usize::try_from(first).unwrap_or(0)
}

/// Moves the `count` servers with the lowest keys to the front, in any order.
fn nth<K: Ord>(servers: &mut [u32], count: usize, key: impl Fn(&u32) -> K) {
    if count < servers.len() {
        servers.select_nth_unstable_by_key(count, key);
    }
}

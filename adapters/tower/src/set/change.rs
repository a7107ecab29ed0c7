//! A change of a set, [`Change`], and how several changes are made, [`apply`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hedge_core::balance::{ArrangeError, Balancer as _, Tag, Weighing, WeightError};
use hedge_core::time::Instant;
use hedge_fleet::{ListEntry, OwnAddress, Servers};

/// A change of a [`HedgeSet`](crate::HedgeSet). It is the same as tower's `discover::Change`, except for weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<K, S> {
    /// Adds a server, or replaces the one with this key. Its weight is the balancer's `default_weight`, or 1.
    Insert(K, S),
    /// Adds or replaces a server with a weight, for the balancers that use weights: `wrr`, `wr` and `p2c`.
    InsertWeighted(K, S, NonZeroU32),
    /// Removes a server.
    Remove(K),
}

/// The weight that was given with a server, if there was one.
struct Weight(Option<NonZeroU32>);

impl Tag for Weight {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        self.0.ok_or(WeightError::Missing)
    }
}

/// Makes all changes at once. Returns how many of them changed anything.
pub(super) fn apply<K: Ord + fmt::Display + 'static, S>(
    servers: &Servers<K, OwnAddress<S>>,
    changes: impl IntoIterator<Item = Change<K, S>>,
    now: Instant,
) -> Result<usize, ArrangeError> {
    let mut made = 0;
    let changed = servers.change(
        |key, out| write!(out, "{key}"),
        now,
        |before| {
            let mut places: Vec<_> =
                before.list().nodes().iter().map(|node| ListEntry::Stays(Arc::clone(node))).collect();
            made = plan(&mut places, changes, before.balancer().weighing());
            (made > 0).then_some(places)
        },
    )?;
    Ok(made - changed.map_or(0, |changed| changed.left_out.len()))
}

/// Makes changes in a list that is in the order of its keys. Returns how many were made.
fn plan<K: Ord, S>(
    places: &mut Vec<ListEntry<K, OwnAddress<S>>>,
    changes: impl IntoIterator<Item = Change<K, S>>,
    weighing: Weighing,
) -> usize {
    let mut made = 0;
    for change in changes {
        let (key, service, weight) = match change {
            Change::Insert(key, service) => (key, service, None),
            Change::InsertWeighted(key, service, weight) => (key, service, Some(weight)),
            Change::Remove(key) => {
                if let Ok(at) = place(places, &key) {
                    places.remove(at);
                    made += 1;
                }
                continue;
            }
        };
        // There is no tag that could be invalid. Without a weight and a `default_weight`, the weight is 1.
        let weight = weighing.weight(&Weight(weight)).unwrap_or(NonZeroU32::MIN);
        let at = place(places, &key);
        let new = ListEntry::New { key, service: OwnAddress(service), weight };
        match at {
            Ok(at) => drop(places.get_mut(at).map(|place| std::mem::replace(place, new))),
            Err(at) => places.insert(at, new),
        }
        made += 1;
    }
    made
}

/// The position of `key`, or as an error the position where it would be inserted.
fn place<K: Ord, S>(places: &[ListEntry<K, S>], key: &K) -> Result<usize, usize> {
    places.binary_search_by(|place| match place {
        ListEntry::Stays(node) => node.key().cmp(key),
        ListEntry::New { key: other, .. } => other.cmp(key),
    })
}

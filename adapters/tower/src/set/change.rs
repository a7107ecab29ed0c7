//! A change of a set, [`Change`], and a function that makes several changes in one step, [`apply`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hedge_core::balance::{ArrangeError, Balancer as _, Tag, Weighing, WeightError};
use hedge_core::time::Instant;
use hedge_fleet::{ListEntry, OwnAddress, Servers};

/// A change of a [`HedgeSet`](crate::HedgeSet). It is like tower's `discover::Change`, with a further variant for
/// weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<K, S> {
    /// Adds a server, or replaces the server with this key. The weight is the balancer's `default_weight`, or 1 if the
    /// balancer has none.
    Insert(K, S),
    /// Adds a server with this weight, or replaces the server with this key. The balancers `wrr`, `wr` and `p2c` use
    /// weights.
    InsertWeighted(K, S, NonZeroU32),
    /// Removes the server with this key.
    Remove(K),
}

/// The weight that was given with a server, if one was given.
struct Weight(Option<NonZeroU32>);

impl Tag for Weight {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        self.0.ok_or(WeightError::Missing)
    }
}

/// Makes all changes in one step. Returns how many of the changes had an effect.
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

/// Makes the changes in `places`, which is and stays in the order of the keys. Returns how many of the changes had an
/// effect.
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
        // The only error is a missing weight. It occurs if the balancer has no `default_weight`; the weight is then 1.
        let weight = weighing.weight(&Weight(weight)).unwrap_or(NonZeroU32::MIN);
        let at = place(places, &key);
        let new = ListEntry::new(key, OwnAddress(service), weight);
        match at {
            Ok(at) => drop(places.get_mut(at).map(|place| std::mem::replace(place, new))),
            Err(at) => places.insert(at, new),
        }
        made += 1;
    }
    made
}

/// The position of `key`. As an error, the position at which `key` would have to be inserted.
fn place<K: Ord, S>(places: &[ListEntry<K, S>], key: &K) -> Result<usize, usize> {
    places.binary_search_by(|place| place.key().cmp(key))
}

//! A change of a set: [`Change`], and what several make of its list, [`apply`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use hedge_core::balance::{ArrangeError, Balancer as _, Tag, Weighing, WeightError};
use hedge_core::time::Instant;
use hedge_fleet::{OwnAddress, Place, Servers};

/// A change of a [`HedgeSet`](crate::HedgeSet); tower's `discover::Change` is the same, weights apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<K, S> {
    /// A server has come; if there is one of that key, it is replaced. Its weight is the balancer's `default_weight`, or 1.
    Insert(K, S),
    /// The same with a weight, for the balancers that look at it: `wrr`, `wr` and `p2c`.
    InsertWeighted(K, S, NonZeroU32),
    /// A server has gone.
    Remove(K),
}

/// The weight that a server came with, if it came with one.
struct Weight(Option<NonZeroU32>);

impl Tag for Weight {
    fn weight(&self) -> Result<NonZeroU32, WeightError> {
        self.0.ok_or(WeightError::Missing)
    }
}

/// Makes changes, all at once; answers how many changed anything.
pub(super) fn apply<K: Ord + fmt::Display, S>(
    servers: &Servers<K, OwnAddress<S>>,
    changes: impl IntoIterator<Item = Change<K, S>>,
    now: Instant,
) -> Result<usize, ArrangeError> {
    let mut made = 0;
    let changed = servers.change(
        |key, out| write!(out, "{key}"),
        now,
        |before| {
            let mut places: Vec<_> = before.list().nodes().iter().map(|node| Place::Stays(Arc::clone(node))).collect();
            made = plan(&mut places, changes, before.balancer().weighing());
            (made > 0).then_some(places)
        },
    )?;
    Ok(made - changed.map_or(0, |changed| changed.left_out.len()))
}

/// Makes changes in a list that is in the order of its keys; answers how many.
fn plan<K: Ord, S>(
    places: &mut Vec<Place<K, OwnAddress<S>>>,
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
        // There is no tag that could be wrong: who says nothing means 1.
        let weight = weighing.weight(&Weight(weight)).unwrap_or(NonZeroU32::MIN);
        let at = place(places, &key);
        let new = Place::New { key, service: OwnAddress(service), weight };
        match at {
            Ok(at) => drop(places.get_mut(at).map(|place| std::mem::replace(place, new))),
            Err(at) => places.insert(at, new),
        }
        made += 1;
    }
    made
}

/// Where `key` is, or would be.
fn place<K: Ord, S>(places: &[Place<K, S>], key: &K) -> Result<usize, usize> {
    places.binary_search_by(|place| match place {
        Place::Stays(node) => node.key().cmp(key),
        Place::New { key: other, .. } => other.cmp(key),
    })
}

//! The servers that a call has tried: [`TriedServers`].

use std::fmt;
use std::sync::{Arc, OnceLock};

use hedge_core::id::ServerId;

use crate::MAX_ATTEMPTS;
use crate::node::Node;

/// How many servers fit without an allocation. Two are enough for a first attempt and one backup. Few calls try more
/// servers.
pub(crate) const INLINE: usize = 2;

/// The servers that a call has tried, each once, in the order in which they were first tried. The report of the call
/// needs them. The call also needs them at the end of an attempt: it reduces the server's count of attempts in flight,
/// even if the server has left the list since.
///
/// # Cost
/// A list takes 48 bytes. A call that tries a third server allocates once.
pub struct TriedServers<K, S> {
    first: [Place<K, S>; INLINE],
    more: OnceLock<Box<[Place<K, S>; MAX_ATTEMPTS - INLINE]>>,
}

type Place<K, S> = OnceLock<Arc<Node<K, S>>>;

impl<K, S> TriedServers<K, S> {
    /// Makes an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: [const { OnceLock::new() }; INLINE], more: OnceLock::new() }
    }

    /// Returns the server with this id. Returns `None` if the call has not tried it.
    #[inline]
    pub fn find(&self, id: ServerId) -> Option<&Arc<Node<K, S>>> {
        self.iter().find(|node| node.id() == id)
    }

    /// Returns the servers, in the order in which they were first tried.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node<K, S>>> {
        let more = self.more.get().map_or(&[][..], |more| &more[..]);
        self.first.iter().chain(more).map_while(OnceLock::get)
    }

    /// Adds a server. Does nothing if the call has tried it before. There is always a free place, since a call makes at
    /// most [`MAX_ATTEMPTS`] attempts.
    #[inline]
    pub(crate) fn add(&self, node: &Arc<Node<K, S>>) {
        if !add_to(&self.first, node) {
            self.add_more(node);
        }
    }

    #[cold]
    fn add_more(&self, node: &Arc<Node<K, S>>) {
        let more = self.more.get_or_init(|| Box::new([const { OnceLock::new() }; MAX_ATTEMPTS - INLINE]));
        add_to(&more[..], node);
    }
}

/// Adds a server to these places. Does nothing if the server is already there. The places are filled from the first one
/// on. Returns false if all places hold other servers.
#[inline]
fn add_to<K, S>(places: &[Place<K, S>], node: &Arc<Node<K, S>>) -> bool {
    for place in places {
        match place.get() {
            Some(tried) if tried.id() != node.id() => {}
            Some(_) => return true,
            None => {
                place.get_or_init(|| Arc::clone(node));
                return true;
            }
        }
    }
    false
}

impl<K, S> Default for TriedServers<K, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, S> fmt::Debug for TriedServers<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|node| node.id())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::OwnAddress;

    #[test]
    fn every_attempt_of_a_call_may_go_to_another_server() {
        let tried = TriedServers::new();
        let id = |slot: usize| ServerId::new(u16::try_from(slot).unwrap(), 0);
        for slot in 0..MAX_ATTEMPTS {
            assert!(tried.find(id(slot)).is_none());
            let node = Node::of_a_call(slot, OwnAddress(()), id(slot));
            tried.add(&node);
            tried.add(&node);
        }
        assert!((0..MAX_ATTEMPTS).eq(tried.iter().map(|node| *node.key())));
        assert!((0..MAX_ATTEMPTS).all(|slot| tried.find(id(slot)).is_some_and(|node| *node.key() == slot)));
        assert!(size_of::<TriedServers<u16, OwnAddress<()>>>() <= 48);
    }
}

//! The stores of connections that the channels of a process share: [`Registry`].

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use hedge_fleet::Address;

use crate::key::ConnectionKey;

/// The stores of connections that channels share. A store is in the registry as long as a channel uses the store. After
/// that, it stays only while it defers the close of its connections. So the size of the registry is limited by the
/// number of stores in use.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<SlotKey, Slot>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct SlotKey {
    store: TypeId,
    address: Address,
    key: ConnectionKey,
}

struct Slot {
    store: Arc<dyn Any + Send + Sync>,
    users: usize,
}

/// The place of a store in its registry.
#[derive(Clone)]
pub(crate) struct Place {
    registry: Arc<Registry>,
    key: SlotKey,
}

impl Place {
    /// Returns the place of the store of type `S` for this address and this key, in the registry of the process.
    pub(crate) fn of<S: 'static>(address: &Address, key: &ConnectionKey) -> Self {
        static PROCESS: LazyLock<Arc<Registry>> = LazyLock::new(Arc::default);
        Self::within::<S>(&PROCESS, address, key)
    }

    pub(crate) fn within<S: 'static>(registry: &Arc<Registry>, address: &Address, key: &ConnectionKey) -> Self {
        let key = SlotKey { store: TypeId::of::<S>(), address: address.clone(), key: key.clone() };
        Self { registry: Arc::clone(registry), key }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.key.address
    }

    /// Returns the store at this place, and counts one more user. If there is no store, `new` makes one. If there is a
    /// store, `entered` is called with it, while the registry is locked. The user must [leave](Self::leave) the store
    /// later.
    pub(crate) fn enter<S: Any + Send + Sync>(&self, new: impl FnOnce(Self) -> S, entered: impl FnOnce(&S)) -> Arc<S> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get_mut(&self.key)
            && let Ok(store) = Arc::clone(&slot.store).downcast::<S>()
        {
            slot.users = slot.users.saturating_add(1);
            entered(&store);
            return store;
        }
        let store = Arc::new(new(self.clone()));
        slots.insert(self.key.clone(), Slot { store: Arc::clone(&store) as _, users: 1 });
        store
    }

    /// Counts one user less. If it was the last user, `stays` is called while the registry is locked. If `stays`
    /// returns true, the store stays until [`leave_unused`]. Otherwise the store is removed.
    ///
    /// [`leave_unused`]: Self::leave_unused
    pub(crate) fn leave(&self, stays: impl FnOnce() -> bool) {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(&self.key) else { return };
        slot.users = slot.users.saturating_sub(1);
        if slot.users == 0 && !stays() {
            let gone = slots.remove(&self.key);
            // The lock is released before the connections of the store are closed.
            drop(slots);
            drop(gone);
        }
    }

    /// Removes the store if it has no user.
    pub(crate) fn leave_unused(&self) {
        let mut slots = self.lock();
        if slots.get(&self.key).is_some_and(|slot| slot.users == 0) {
            let gone = slots.remove(&self.key);
            drop(slots);
            drop(gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotKey, Slot>> {
        self.registry.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

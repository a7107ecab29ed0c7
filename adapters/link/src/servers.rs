//! The values that a channel keeps for the servers that it connects to: [`PerServer`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use hedge_fleet::Address;

/// One value for each address. When a new address comes, the values that are neither in use nor needed are dropped from
/// time to time.
pub struct PerServer<T> {
    is_needed: fn(&T) -> bool,
    values: RwLock<Values<T>>,
}

struct Values<T> {
    by_address: HashMap<Address, Arc<T>>,
    /// When a value is added to this many values, the values that are neither in use nor needed are dropped.
    prune_at: usize,
}

const PRUNE_AT_LEAST: usize = 64;

/// If there are at most this many addresses, each is compared. This costs less than computing one hash.
const FEW: usize = 4;

impl<T> Values<T> {
    fn find(&self, address: &Address) -> Option<&Arc<T>> {
        if self.by_address.len() > FEW {
            return self.by_address.get(address);
        }
        self.by_address.iter().find(|(known, _)| *known == address).map(|(_, value)| value)
    }
}

impl<T> PerServer<T> {
    /// Makes an empty map. `is_needed` returns whether a value must be kept while nothing uses it.
    #[must_use]
    pub fn new(is_needed: fn(&T) -> bool) -> Self {
        Self { is_needed, values: RwLock::new(Values { by_address: HashMap::new(), prune_at: PRUNE_AT_LEAST }) }
    }

    /// Returns the value of this address. If there is no value, calls `make` to make one.
    ///
    /// # Errors
    /// Returns the error of `make`.
    ///
    /// # Cost
    /// If there is a value, this costs a read lock and a look-up. With four addresses or fewer, the look-up computes no
    /// hash.
    pub fn get<E>(&self, address: &Address, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(value) = self.values.read().unwrap_or_else(PoisonError::into_inner).find(address) {
            return Ok(Arc::clone(value));
        }
        let made = Arc::new(make()?);
        // The values in this vector are dropped after the lock is released.
        let mut over = Vec::new();
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if values.by_address.len() >= values.prune_at {
            let unused = |value: &Arc<T>| Arc::strong_count(value) == 1 && !(self.is_needed)(value);
            over.extend(values.by_address.extract_if(|_, value| unused(value)));
            values.prune_at = PRUNE_AT_LEAST.max(values.by_address.len().saturating_mul(2));
        }
        let value = Arc::clone(values.by_address.entry(address.clone()).or_insert_with(|| Arc::clone(&made)));
        drop(values);
        Ok(value)
    }

    /// Returns all current values.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<T>> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).by_address.values().cloned().collect()
    }
}

impl<T> fmt::Debug for PerServer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerServer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn address(number: usize) -> Address {
        format!("server-{number}:80").parse().unwrap()
    }

    #[test]
    fn each_address_has_its_value_among_few_and_among_many() {
        let servers = PerServer::new(|_: &usize| true);
        for number in 0..2 * FEW {
            for known in 0..=number {
                assert_eq!(*servers.get(&address(known), || Ok::<_, Infallible>(known)).unwrap(), known);
            }
            assert_eq!(servers.all().len(), number + 1);
        }
    }

    #[test]
    fn values_that_nothing_needs_are_dropped() {
        let servers = PerServer::new(|needed: &bool| *needed);
        let get = |number, needed| servers.get(&address(number), || Ok::<_, Infallible>(needed)).unwrap();
        let held = get(0, false);
        assert!(Arc::ptr_eq(&held, &get(0, true)), "there is one already");
        for number in 1..1_000 {
            get(number, number % 100 == 0);
        }
        assert!(servers.all().len() < 2 * PRUNE_AT_LEAST, "{}", servers.all().len());
        assert!(Arc::ptr_eq(&held, &get(0, true)), "it is in use");
        assert!(*get(100, false), "it is needed");
    }
}

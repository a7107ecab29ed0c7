//! The keys below a prefix, as they are known: [`Keys`].

use std::collections::BTreeMap;

use hedge_fleet::Update;

use super::entry;
use crate::client::{Fault, Secrets};
use crate::lines::{Lines, MOST_SERVERS, too_many};

/// The keys below a prefix, with their values.
pub(super) struct Keys {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The bytes of all keys and values.
    size: usize,
    /// The largest allowed `size`.
    limit: usize,
}

impl Keys {
    pub(super) const fn new(limit: usize) -> Self {
        Self { values: BTreeMap::new(), size: 0, limit }
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.size = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Fault> {
        self.delete(&key);
        self.size = self.size.saturating_add(key.len()).saturating_add(value.len());
        self.values.insert(key, value);
        match () {
            () if self.values.len() > MOST_SERVERS => Err(too_many()),
            () if self.size > self.limit => Err(Fault::TooLarge("the list", self.limit)),
            () => Ok(()),
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        if let Some((key, value)) = self.values.remove_entry(key) {
            self.size = self.size.saturating_sub(key.len() + value.len());
        }
    }

    /// The whole list. An [`Update::Change`] would not be enough: two keys may hold one server, which stays until both
    /// are gone, and keys that are not servers must be reported as long as they exist.
    pub(super) fn update(&self, secrets: &Secrets) -> Result<Update, Fault> {
        let mut lines = Lines::new(secrets);
        for ((key, value), number) in self.values.iter().zip(1..) {
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            let server = entry::read(&key, &value);
            lines.add(number, server, || format!("{key}: {value}"))?;
        }
        Ok(lines.into_update())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_keys_and_values_are_bounded() {
        let mut keys = Keys::new(10);
        let put = |keys: &mut Keys, key: &str, value: &str| keys.put(key.into(), value.into());
        put(&mut keys, "a", "123456789").unwrap();
        put(&mut keys, "a", "987654321").unwrap();
        assert!(matches!(put(&mut keys, "b", ""), Err(Fault::TooLarge("the list", 10))));
        keys.delete(b"a");
        keys.delete(b"a");
        put(&mut keys, "c", "12345678").unwrap();
        keys.clear();
        put(&mut keys, "d", "123456789").unwrap();
        assert_eq!(keys.len(), 1);

        let mut many = Keys::new(usize::MAX);
        let results: Vec<_> = (0..=MOST_SERVERS).map(|key| put(&mut many, &key.to_string(), "")).collect();
        assert!(results.iter().rev().skip(1).all(Result::is_ok) && results.last().unwrap().is_err());
    }
}

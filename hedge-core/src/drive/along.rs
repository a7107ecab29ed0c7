//! What goes along with a call on the wire ([W3](crate::rules#W3)): [`Along`].

use core::fmt;

use crate::atomic::{AtomicBool, Ordering};
use crate::id::IdempotencyKey;
use crate::outcome::Kind;

/// What goes along with each attempt of one call. The host of the call makes it, and lends it to the attempts as
/// [`Along`].
#[derive(Debug, Default)]
pub struct CallAlong<'a> {
    /// The id with which the caller's logs connect calls of several services.
    pub log_id: Option<u64>,
    /// The caller's id of its request. The host has checked it: it holds no control character.
    pub request_id: Option<&'a str>,
    /// The key of the call.
    pub key: Option<IdempotencyKey>,
    has_backup: AtomicBool,
    first_is_over: AtomicBool,
}

impl<'a> CallAlong<'a> {
    /// Makes what goes along with a call that has no backup yet.
    #[must_use]
    pub const fn new(log_id: Option<u64>, request_id: Option<&'a str>, key: Option<IdempotencyKey>) -> Self {
        let (has_backup, first_is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { log_id, request_id, key, has_backup, first_is_over }
    }

    /// Returns what an attempt of this kind gets, which is about to start. `first_server` is the address of the
    /// server of the call's first attempt. Only backups are told it, and only while the first attempt runs: a copy that
    /// the call has given up must not replace the backup.
    #[must_use]
    pub fn of_attempt<'c, A>(&'c self, kind: Kind, first_server: Option<&'c A>) -> Along<'c, A> {
        if kind == Kind::Backup {
            self.has_backup.store(true, Ordering::Relaxed);
        }
        let names_first = kind == Kind::Backup && !self.first_is_over.load(Ordering::Relaxed);
        Along { call: Some(self), first_server: first_server.filter(|_| names_first) }
    }
}

/// What goes along with one attempt, for the transport that sends it: the ids and the key of its call, and for a backup
/// the server of the call's first attempt ([W3](crate::rules#W3), [Y1](crate::rules#Y1)). The attempt's number, its
/// kind and the remaining time are in its [`AttemptInfo`](super::AttemptInfo).
///
/// It is two pointers, which are lent for as long as the attempt runs. If a call has neither ids nor a key, its
/// attempts get [`Along::NOTHING`].
pub struct Along<'a, A> {
    call: Option<&'a CallAlong<'a>>,
    first_server: Option<&'a A>,
}

impl<'a, A> Along<'a, A> {
    /// Nothing goes along.
    pub const NOTHING: Self = Self { call: None, first_server: None };

    /// Returns the log id of the call, if the caller set one.
    #[must_use]
    pub fn log_id(self) -> Option<u64> {
        self.call?.log_id
    }

    /// Returns the request id of the call, if the caller set one. It holds no control character.
    #[must_use]
    pub fn request_id(self) -> Option<&'a str> {
        self.call?.request_id
    }

    /// Returns the idempotency key of the call. All attempts of a call have the same key.
    #[must_use]
    pub fn key(self) -> Option<IdempotencyKey> {
        self.call?.key
    }

    /// Returns the address of the server of the call's first attempt, if this attempt is a backup that started while the
    /// first attempt was running.
    #[must_use]
    pub const fn first_server(self) -> Option<&'a A> {
        self.first_server
    }

    /// Returns whether a backup of this call has started. For a first attempt, the answer may change while the attempt
    /// runs. Without a backup there are no two copies, so a server has no reason to drop one ([Y1](crate::rules#Y1)).
    #[must_use]
    pub fn has_backup(self) -> bool {
        self.call.is_some_and(|call| call.has_backup.load(Ordering::Relaxed))
    }
}

impl<'a, A> Along<'a, A> {
    /// Returns a guard for the time in which a first attempt runs. A transport that ties requests keeps it until the
    /// attempt has ended or is given up. Backups that start later are not told the first server. `None` for attempts of
    /// other kinds, and if nothing goes along.
    #[must_use]
    pub fn running(self, kind: Kind) -> Option<FirstRuns<'a>> {
        self.call.filter(|_| kind == Kind::First).map(FirstRuns)
    }
}

/// The first attempt of a call runs until this is dropped.
#[derive(Debug)]
pub struct FirstRuns<'a>(&'a CallAlong<'a>);

impl Drop for FirstRuns<'_> {
    fn drop(&mut self) {
        self.0.first_is_over.store(true, Ordering::Relaxed);
    }
}

impl<A> Clone for Along<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Along<'_, A> {}

/// Shows whether there is a key, and not the key.
impl<A: fmt::Debug> fmt::Debug for Along<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Along").field("call", &self.call).field("first_server", &self.first_server).finish()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::format;

    const KEY: IdempotencyKey = IdempotencyKey::from_bytes([0xab; 16]);

    #[test]
    fn y1_a_backup_alone_is_told_the_first_server() {
        let call = CallAlong::new(Some(7), Some("r-1"), Some(KEY));
        let first = call.of_attempt(Kind::First, Some(&"a:1"));
        assert!(!first.has_backup());
        assert_eq!((first.first_server(), call.of_attempt(Kind::Retry, Some(&"a:1")).first_server()), (None, None));
        assert!(!first.has_backup(), "a retry is no backup");
        let backup = call.of_attempt(Kind::Backup, Some(&"a:1"));
        assert_eq!(backup.first_server(), Some(&"a:1"));
        assert!(first.has_backup() && backup.has_backup());
        for along in [first, backup] {
            assert_eq!((along.log_id(), along.request_id(), along.key()), (Some(7), Some("r-1"), Some(KEY)));
        }
    }

    #[test]
    fn y1_a_backup_is_not_told_of_a_first_attempt_that_is_over() {
        let call = CallAlong::new(None, None, Some(KEY));
        let first = call.of_attempt(Kind::First, Some(&"a:1"));
        let running = first.running(Kind::First);
        assert!(running.is_some() && first.running(Kind::Retry).is_none() && first.running(Kind::Backup).is_none());
        assert_eq!(call.of_attempt(Kind::Backup, Some(&"a:1")).first_server(), Some(&"a:1"));
        drop(running);
        let later = call.of_attempt(Kind::Backup, Some(&"a:1"));
        assert_eq!((later.first_server(), later.key()), (None, Some(KEY)));
    }

    #[test]
    fn w3_the_key_is_not_shown() {
        let call = CallAlong::new(None, None, Some(KEY));
        let shown = format!("{KEY:?} {call:?} {:?}", call.of_attempt(Kind::Backup, Some(&"a:1")));
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("ab, ab") && shown.contains("hidden"),
            "{shown}"
        );
        let nothing = Along::<&str>::NOTHING;
        assert_eq!((nothing.log_id(), nothing.request_id(), nothing.key()), (None, None, None));
        assert!(!nothing.has_backup());
    }
}

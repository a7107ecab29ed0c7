//! The options of one call: [`CallOptions`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hedge_core::drive::CancelSignal;
use hedge_core::policy::{self, Backoff, BackupDelay, BackupPolicy, Idempotency};
use hedge_core::time::Timeout;
use hedge_fleet::{AlongOptions, AsCallOptions};

/// The options of one call. A [`Protocol`](crate::Protocol) reads them from the request. If an option is `None`, the
/// value of the layer or set is used.
#[derive(Clone, Default)]
pub struct CallOptions {
    /// How long the call may take from its start to its end. [`CallOptions::with_timeout`] takes std's duration.
    pub timeout: Option<Timeout>,
    /// How long one attempt may take before another server is tried ([L21](hedge_core::rules#L21)).
    /// [`CallOptions::with_attempt_timeout`] takes std's duration.
    pub attempt_timeout: Option<Timeout>,
    /// How many attempts may follow the first, retries and backups together; at most 7.
    pub max_retry: Option<u8>,
    /// The delay after which a backup is sent. [`CallOptions::with_backup`] takes std's duration.
    pub backup: Option<BackupDelay>,
    /// How many backups the call may send; at most 4.
    pub max_backups: Option<u8>,
    /// How long a retry waits before it is sent ([R3](hedge_core::rules#R3)).
    pub backoff: Option<Backoff>,
    /// Whether this request may be sent twice. `Unset`: the option of the layer or set applies.
    pub idempotency: Idempotency,
    /// The code of the request, for a set that balances by consistent hashing. All calls with the same code go to the
    /// same server. [`hedge_core::balance::hash`] computes a code from text. Without a code, such a set refuses the
    /// call before anything is sent ([S5](hedge_core::rules#S5)).
    pub request_code: Option<u32>,
    /// A backup policy for this call. It replaces the policy and the limits of the layer or set. So a policy that
    /// allows everything removes all limits from this call.
    pub backup_policy: Option<Arc<dyn BackupPolicy + Send + Sync>>,
    /// The ids and the key that go along with each attempt ([W3](hedge_core::rules#W3)), for a protocol that sends them
    /// ([`Protocol::prepare_along`](crate::Protocol::prepare_along)). `None`: there are none.
    pub along: Option<Box<AlongOptions>>,
    /// A signal with which other code can cancel the call. Two calls may not use one signal at the same time, since
    /// only one of them would be woken.
    pub cancel: Option<Arc<CancelSignal>>,
}

impl CallOptions {
    /// Options that set nothing, so the options of the layer or set apply.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: None,
            attempt_timeout: None,
            max_retry: None,
            backup: None,
            max_backups: None,
            backoff: None,
            idempotency: Idempotency::Unset,
            request_code: None,
            backup_policy: None,
            along: None,
            cancel: None,
        }
    }

    /// These options with a timeout of the call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(Timeout::after(timeout)), ..self }
    }

    /// These options with a timeout for each attempt.
    #[must_use]
    pub fn with_attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Some(Timeout::after(timeout)), ..self }
    }

    /// These options with a backup after `delay`.
    #[must_use]
    pub fn with_backup(self, delay: Duration) -> Self {
        Self { backup: Some(BackupDelay::after(delay)), ..self }
    }
}

impl AsCallOptions for CallOptions {
    fn as_core(&self) -> policy::CallOptions<'_> {
        policy::CallOptions {
            timeout: self.timeout,
            max_retry: self.max_retry,
            backup: self.backup,
            max_backups: self.max_backups,
            // Not a plain copy of 24 bytes, of which only the first have just been written in the usual case: the CPU would
            // wait for that write.
            backoff: self.backoff.as_ref().copied(),
            idempotency: self.idempotency,
            request_code: self.request_code,
            backup_policy: match &self.backup_policy {
                Some(policy) => Some(&**policy),
                None => None,
            },
            ..policy::CallOptions::new()
        }
    }

    fn attempt_timeout(&self) -> Option<Timeout> {
        self.attempt_timeout
    }

    fn cancel(&self) -> Option<&CancelSignal> {
        self.cancel.as_deref()
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("options", &self.as_core())
            .field("along", &self.along)
            .field("cancel", &self.cancel)
            .finish()
    }
}

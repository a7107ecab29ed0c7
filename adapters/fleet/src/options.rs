//! The options of one call, [`CallOptions`], and a token that cancels a call, [`CancelToken`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hedge_core::drive::CancelSignal;
use hedge_core::id::IdempotencyKey;
use hedge_core::policy::{self, Backoff, BackupDelay, BackupPolicy, CallKind, Idempotency, RetryTarget};
use hedge_core::time::Timeout;

use crate::along::{AlongOptions, RequestId, RequestIdError};
use crate::run::AsCallOptions;
use crate::server::Server;

/// The options of one call. If an option is `None`, the channel's value is used.
///
/// ```
/// use hedge_fleet::CallOptions;
/// use std::time::Duration;
///
/// let options = CallOptions { max_retry: Some(0), ..CallOptions::new().with_timeout(Duration::from_millis(50)) };
/// assert!(options.backup.is_none());
/// ```
#[derive(Clone, Default)]
pub struct CallOptions {
    /// How long the call may take from its start to its end, including a streaming body. [`CallOptions::with_timeout`]
    /// accepts a `Duration` of std.
    pub timeout: Option<Timeout>,
    /// How long one attempt may take before another server is tried ([L21](hedge_core::rules#L21)).
    /// [`CallOptions::with_attempt_timeout`] accepts a `Duration` of std.
    pub attempt_timeout: Option<Timeout>,
    /// How long it may take to make one connection. In addition, the call's deadline applies. If this limit is shorter
    /// than the channel's connect timeout, and a connection is not made in time, the attempt does not count as a
    /// failure of the server ([H1](hedge_core::rules#H1)).
    pub connect_timeout: Option<Timeout>,
    /// How many attempts may follow the first one: at most 7. Retries and backups both count.
    pub max_retry: Option<u8>,
    /// The delay after which a backup is sent. [`CallOptions::with_backup`] accepts a `Duration` of std.
    pub backup: Option<BackupDelay>,
    /// How many backups the call may send, at most 4. If the number is above 1, each attempt allocates.
    pub max_backups: Option<u8>,
    /// How long a retry waits before it is sent ([R3](hedge_core::rules#R3)).
    pub backoff: Option<Backoff>,
    /// Whether a retry goes to another server or to the same server again.
    pub retry_target: Option<RetryTarget>,
    /// Whether this request may be sent twice. `Unset` means that the transport decides; HTTP, for example, decides by
    /// the method. If the transport does not decide, the channel's option applies.
    pub idempotency: Idempotency,
    /// The kind of messages that the call sends and receives. Only unary calls are hedged
    /// ([L15](hedge_core::rules#L15)).
    pub kind: CallKind,
    /// The request code, for balancers that hash. If it is missing, such a balancer refuses the call with a
    /// configuration error before anything is sent ([S5](hedge_core::rules#S5)). [`hash`](hedge_core::balance::hash)
    /// computes a request code from text.
    pub request_code: Option<u32>,
    /// A backup policy for this call. It replaces the channel's policy and the channel's limits. So if the policy
    /// allows everything, this call has no limits.
    pub backup_policy: Option<Arc<dyn BackupPolicy + Send + Sync>>,
    /// The servers that the call uses, in this order. The balancer does not choose ([S8](hedge_core::rules#S8)). The
    /// servers need not be in the channel's list. If one of them is in the list, its attempts are counted there too.
    pub servers: Option<Vec<Server>>,
    /// When an attempt counts as finished: at the head or at the last byte of the reply.
    pub body: BodyMode,
    /// The ids and the key that go along with each attempt ([W3](hedge_core::rules#W3)). `None`: there are none.
    /// [`CallOptions::with_log_id`], [`CallOptions::with_request_id`] and [`CallOptions::with_idempotency_key`] set
    /// them. They are boxed, since most calls have none.
    pub along: Option<Box<AlongOptions>>,
    /// A token with which other code can cancel the call. Dropping the call's future cancels the call too.
    pub cancel: Option<CancelToken>,
}

impl CallOptions {
    /// Makes options that set nothing, so that the channel's options apply.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: None,
            attempt_timeout: None,
            connect_timeout: None,
            max_retry: None,
            backup: None,
            max_backups: None,
            backoff: None,
            retry_target: None,
            idempotency: Idempotency::Unset,
            kind: CallKind::Unary,
            request_code: None,
            backup_policy: None,
            servers: None,
            body: BodyMode::Buffered,
            along: None,
            cancel: None,
        }
    }

    /// Returns these options with another timeout of the call.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(Timeout::after(timeout)), ..self }
    }

    /// Returns these options with a timeout for each attempt.
    #[must_use]
    pub fn with_attempt_timeout(self, timeout: Duration) -> Self {
        Self { attempt_timeout: Some(Timeout::after(timeout)), ..self }
    }

    /// Returns these options with a log id, which goes along with each attempt.
    #[must_use]
    pub fn with_log_id(mut self, id: u64) -> Self {
        self.along.get_or_insert_default().log_id = Some(id);
        self
    }

    /// Returns these options with a request id, which goes along with each attempt.
    ///
    /// # Errors
    /// Returns an error if the text cannot be a [`RequestId`].
    pub fn with_request_id(mut self, id: &str) -> Result<Self, RequestIdError> {
        self.along.get_or_insert_default().request_id = Some(RequestId::new(id)?);
        Ok(self)
    }

    /// Returns these options with the caller's own key of the call, which goes along with each attempt.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.along.get_or_insert_default().idempotency_key = Some(key);
        self
    }

    /// Returns the key that the caller has set.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<IdempotencyKey> {
        self.along.as_ref()?.idempotency_key
    }

    /// Returns these options with `delay` as the backup delay.
    #[must_use]
    pub fn with_backup(self, delay: Duration) -> Self {
        Self { backup: Some(BackupDelay::after(delay)), ..self }
    }
}

impl AsCallOptions for CallOptions {
    fn as_core(&self) -> policy::CallOptions<'_> {
        policy::CallOptions {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            max_retry: self.max_retry,
            backup: self.backup,
            max_backups: self.max_backups,
            backoff: self.backoff,
            retry_target: self.retry_target,
            idempotency: self.idempotency,
            kind: self.kind,
            streaming: self.body == BodyMode::Streaming,
            request_code: self.request_code,
            backup_policy: match &self.backup_policy {
                Some(policy) => Some(&**policy),
                None => None,
            },
            servers: None,
        }
    }

    fn attempt_timeout(&self) -> Option<Timeout> {
        self.attempt_timeout
    }

    fn cancel(&self) -> Option<&CancelSignal> {
        self.cancel.as_ref().map(CancelToken::signal)
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("options", &self.as_core())
            .field("servers", &self.servers)
            .field("along", &self.along)
            .field("cancel", &self.cancel)
            .finish()
    }
}

/// When an attempt counts as finished.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum BodyMode {
    /// An attempt is finished at the last byte of the body ([T1](hedge_core::rules#T1)). If the connection breaks in
    /// the middle, this is a failure that can be retried.
    #[default]
    Buffered,
    /// An attempt is finished when the head of the reply is complete ([T2](hedge_core::rules#T2)). The caller then
    /// reads the body, still before the call's deadline. A failure in the body is not retried. The attempt counts as in
    /// flight until the body has ended or is dropped.
    Streaming,
}

/// Cancels a call from any thread. All clones cancel the same call.
///
/// If a call starts with a cancelled token, it ends at once. A token stays cancelled, so it cannot be used again after
/// that. Two calls may not use one token at the same time, since only one of the two would be woken.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<CancelSignal>);

impl CancelToken {
    /// Makes a token that has not been cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the call that has this token. If no call has started with this token yet, the call is cancelled when it
    /// starts. Cancelling twice has no further effect.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Returns whether the token has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns the signal of the token, which [`cancel`](Self::cancel) sets. Hosts use this.
    #[must_use]
    pub fn signal(&self) -> &CancelSignal {
        &self.0
    }
}

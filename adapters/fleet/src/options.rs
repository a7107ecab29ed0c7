//! The options of one call: [`CallOptions`], and the token that cancels it, [`CancelToken`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hedge_core::drive::CancelSignal;
use hedge_core::policy::{self, Backoff, BackupDelay, BackupPolicy, CallKind, Idempotency, RetryTarget};
use hedge_core::time::Timeout;

use crate::run::AsCallOptions;
use crate::server::Server;

/// The options of one call. The channel's value is used for an option that is `None`.
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
    /// How long the call may take from its start to its end, a streaming body included. [`CallOptions::with_timeout`]
    /// takes std's duration.
    pub timeout: Option<Timeout>,
    /// How long one attempt may take before another server is tried ([L21](hedge_core::rules#L21)).
    /// [`CallOptions::with_attempt_timeout`] takes std's duration.
    pub attempt_timeout: Option<Timeout>,
    /// How long making one connection may take; the call's deadline applies too. If this is shorter than the channel's,
    /// a connect timeout says nothing about the server ([H1](hedge_core::rules#H1)).
    pub connect_timeout: Option<Timeout>,
    /// How many attempts may follow the first, retries and backups together; at most 7.
    pub max_retry: Option<u8>,
    /// When to send a backup. [`CallOptions::with_backup`] takes std's duration.
    pub backup: Option<BackupDelay>,
    /// How many backups the call may send; at most 4. If it is more than 1, each attempt allocates.
    pub max_backups: Option<u8>,
    /// How long a retry waits before it is sent ([R3](hedge_core::rules#R3)).
    pub backoff: Option<Backoff>,
    /// Which server a retry goes to.
    pub retry_target: Option<RetryTarget>,
    /// Whether this request may be sent twice. `Unset`: the transport decides (HTTP: by the method), else the channel.
    pub idempotency: Idempotency,
    /// The kind of the exchange. Only unary calls are hedged ([L15](hedge_core::rules#L15)).
    pub kind: CallKind,
    /// The request's key for balancers that hash. Without a key, such a balancer refuses the call as a configuration
    /// error before anything is sent ([S5](hedge_core::rules#S5)). [`hash`](hedge_core::balance::hash) computes one
    /// from text.
    pub request_code: Option<u32>,
    /// A policy for this call. It replaces the channel's policy and the channel's limits, so nothing is limited if this
    /// policy allows everything.
    pub backup_policy: Option<Arc<dyn BackupPolicy + Send + Sync>>,
    /// The servers to use, in this order, instead of what the balancer would choose ([S8](hedge_core::rules#S8)). They
    /// need not be in the channel's list. Those that are in the list share its counts.
    pub servers: Option<Vec<Server>>,
    /// When an attempt is finished.
    pub body: BodyMode,
    /// Cancels the call from elsewhere. Dropping the call's future does so too.
    pub cancel: Option<CancelToken>,
}

impl CallOptions {
    /// Options that change nothing: the channel's apply.
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
            cancel: None,
        }
    }

    /// These options with a timeout.
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
            .field("cancel", &self.cancel)
            .finish()
    }
}

/// When an attempt is finished.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum BodyMode {
    /// At the last byte of the body ([T1](hedge_core::rules#T1)). A connection that breaks in the middle is a failure
    /// that can be retried.
    #[default]
    Buffered,
    /// When the head of the reply is complete ([T2](hedge_core::rules#T2)). The caller then reads the body, still under
    /// the call's deadline, and nothing is retried any more. The attempt counts as in flight until the body has ended
    /// or is dropped.
    Streaming,
}

/// Cancels a call from any thread. Clones cancel the same call.
///
/// A call whose token was cancelled before ends as soon as it starts. A token stays cancelled. Use it for one call at a
/// time.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<CancelSignal>);

impl CancelToken {
    /// A token that has not been cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the call that has this token, now or when it starts. Idempotent.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn signal(&self) -> &CancelSignal {
        &self.0
    }
}

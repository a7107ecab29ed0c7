//! The cases, in the order of the table.

use Finish::{Cancelled, Fatal, Internal, NoServer, Ok, Refused, Retry, Timeout};
use hedge_core::policy::{Idempotency, OnEarlyFailure};

/// One case; times are in milliseconds.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) set: Set,
    /// When each attempt of the call has a result, in milliseconds after its start, and which. It does not depend on the
    /// server. Further attempts never have a result.
    pub(super) attempts: &'static [(u64, Finish)],
    pub(super) expect: Expect,
}

/// The options.
pub(super) struct Set {
    pub(super) timeout: u64,
    pub(super) backup: Option<u64>,
    pub(super) max_retry: u8,
    pub(super) max_backups: u8,
    /// The limit refuses every backup.
    pub(super) backup_denied: bool,
    pub(super) backoff: Option<u64>,
    pub(super) on_early_failure: OnEarlyFailure,
    pub(super) idempotency: Idempotency,
    pub(super) servers: u16,
    pub(super) cancel_at: Option<u64>,
}

/// How an attempt or a call ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Ok,
    Retry,
    /// Like `Retry`, and the request has certainly not left.
    Refused,
    Internal,
    Fatal,
    Timeout,
    Cancelled,
    NoServer,
}

/// The expected end of a case.
#[derive(PartialEq, Eq)]
pub(super) struct Expect {
    pub(super) result: Option<Finish>,
    pub(super) at: u64,
    pub(super) attempts: usize,
    pub(super) backup_sent: bool,
    pub(super) winner: Option<usize>,
}

/// The options of a case that sets none.
const SET: Set = Set {
    timeout: 500,
    backup: None,
    max_retry: 3,
    max_backups: 1,
    backup_denied: false,
    backoff: None,
    on_early_failure: OnEarlyFailure::StartNext,
    idempotency: Idempotency::Idempotent,
    servers: 3,
    cancel_at: None,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "plain",
        set: SET,
        attempts: &[(10, Ok)],
        expect: Expect { result: Some(Ok), at: 10, attempts: 1, backup_sent: false, winner: Some(0) },
    },
    Case {
        name: "backup wins",
        set: Set { backup: Some(20), ..SET },
        attempts: &[(200, Ok), (0, Ok)],
        expect: Expect { result: Some(Ok), at: 20, attempts: 2, backup_sent: true, winner: Some(1) },
    },
    Case {
        name: "first wins after the backup was sent",
        set: Set { backup: Some(20), ..SET },
        attempts: &[(60, Ok), (200, Ok)],
        expect: Expect { result: Some(Ok), at: 60, attempts: 2, backup_sent: true, winner: Some(0) },
    },
    Case {
        name: "no retry left means no backup, not a failure",
        set: Set { backup: Some(20), max_retry: 0, ..SET },
        attempts: &[(60, Ok)],
        expect: Expect { result: Some(Ok), at: 60, attempts: 1, backup_sent: false, winner: Some(0) },
    },
    Case {
        name: "backup delay equal to the timeout",
        set: Set { timeout: 100, backup: Some(100), ..SET },
        attempts: &[(300, Ok)],
        expect: Expect { result: Some(Timeout), at: 100, attempts: 1, backup_sent: false, winner: None },
    },
    Case {
        name: "a refused backup keeps the deadline",
        set: Set { timeout: 100, backup: Some(20), backup_denied: true, ..SET },
        attempts: &[(300, Ok)],
        expect: Expect { result: Some(Timeout), at: 100, attempts: 1, backup_sent: false, winner: None },
    },
    Case {
        name: "a backup that fails inside the server does not end the call",
        set: Set { backup: Some(20), ..SET },
        attempts: &[(100, Ok), (10, Internal)],
        expect: Expect { result: Some(Ok), at: 100, attempts: 2, backup_sent: true, winner: Some(0) },
    },
    Case {
        name: "a backup that fails with no retry left does not end the call",
        set: Set { backup: Some(20), max_retry: 1, ..SET },
        attempts: &[(100, Ok), (10, Retry)],
        expect: Expect { result: Some(Ok), at: 100, attempts: 2, backup_sent: true, winner: Some(0) },
    },
    Case {
        name: "fail over",
        set: SET,
        attempts: &[(5, Retry), (5, Ok)],
        expect: Expect { result: Some(Ok), at: 10, attempts: 2, backup_sent: false, winner: Some(1) },
    },
    Case {
        name: "a fatal answer ends the call",
        set: Set { backup: Some(20), ..SET },
        attempts: &[(50, Fatal), (100, Ok)],
        expect: Expect { result: Some(Fatal), at: 50, attempts: 2, backup_sent: true, winner: None },
    },
    Case {
        name: "cancel with both in flight",
        set: Set { backup: Some(20), cancel_at: Some(50), ..SET },
        attempts: &[(200, Ok), (200, Ok)],
        expect: Expect { result: Some(Cancelled), at: 50, attempts: 2, backup_sent: true, winner: None },
    },
    Case {
        name: "the deadline bounds retries",
        set: Set { timeout: 100, ..SET },
        attempts: &[(60, Retry), (60, Ok)],
        expect: Expect { result: Some(Timeout), at: 100, attempts: 2, backup_sent: false, winner: None },
    },
    Case {
        name: "fixed backoff",
        set: Set { backoff: Some(50), ..SET },
        attempts: &[(0, Retry), (0, Retry), (0, Ok)],
        expect: Expect { result: Some(Ok), at: 100, attempts: 3, backup_sent: false, winner: Some(2) },
    },
    Case {
        name: "an empty cluster",
        set: Set { servers: 0, ..SET },
        attempts: &[],
        expect: Expect { result: Some(NoServer), at: 0, attempts: 0, backup_sent: false, winner: None },
    },
    Case {
        name: "two backups, each a delay after the last",
        set: Set { backup: Some(20), max_backups: 2, ..SET },
        attempts: &[(400, Ok), (400, Ok), (400, Ok)],
        expect: Expect { result: Some(Ok), at: 400, attempts: 3, backup_sent: true, winner: Some(0) },
    },
    Case {
        name: "early failure held for the timer",
        set: Set { backup: Some(30), on_early_failure: OnEarlyFailure::Wait, ..SET },
        attempts: &[(10, Retry), (5, Ok)],
        expect: Expect { result: Some(Ok), at: 35, attempts: 2, backup_sent: true, winner: Some(1) },
    },
    Case {
        name: "early failure held, backup refused",
        set: Set { backup: Some(30), on_early_failure: OnEarlyFailure::Wait, backup_denied: true, ..SET },
        attempts: &[(10, Retry), (5, Ok)],
        expect: Expect { result: Some(Ok), at: 35, attempts: 2, backup_sent: false, winner: Some(1) },
    },
    Case {
        name: "not idempotent, never left",
        set: Set { idempotency: Idempotency::NotIdempotent, ..SET },
        attempts: &[(2, Refused), (5, Ok)],
        expect: Expect { result: Some(Ok), at: 7, attempts: 2, backup_sent: false, winner: Some(1) },
    },
    Case {
        name: "not idempotent, may have left",
        set: Set { idempotency: Idempotency::NotIdempotent, ..SET },
        attempts: &[(2, Retry), (5, Ok)],
        expect: Expect { result: Some(Retry), at: 2, attempts: 1, backup_sent: false, winner: None },
    },
    Case {
        name: "one server is not hedged",
        set: Set { backup: Some(20), servers: 1, ..SET },
        attempts: &[(50, Ok)],
        expect: Expect { result: Some(Ok), at: 50, attempts: 1, backup_sent: false, winner: Some(0) },
    },
    Case {
        name: "the backup timer during a backoff",
        set: Set { backup: Some(20), backoff: Some(40), ..SET },
        attempts: &[(10, Retry), (100, Ok), (5, Ok)],
        expect: Expect { result: Some(Ok), at: 75, attempts: 3, backup_sent: true, winner: Some(2) },
    },
    Case {
        name: "finished before the timer",
        set: Set { backup: Some(50), ..SET },
        attempts: &[(10, Ok)],
        expect: Expect { result: Some(Ok), at: 10, attempts: 1, backup_sent: false, winner: Some(0) },
    },
];

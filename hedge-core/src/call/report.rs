//! Everything that a finished call can tell: [`Report`].

use heapless::Vec;

use crate::id::AttemptId;
use crate::outcome::{Attempt, End, Kind, NotHedged};
use crate::time::{Duration, Instant, Micros};

/// What happened in a call of at most `N` attempts. The call keeps it up to date; it is complete once [`Report::end`]
/// says how the call ended.
///
/// `Display` is one line for a log, and `Debug` says what the accessors say.
#[derive(Clone, PartialEq, Eq)]
pub struct Report<const N: usize = 4> {
    started: Instant,
    elapsed: Micros,
    /// Its length is a whole word. A byte would be read together with its neighbours, and that read would wait for what
    /// was written to them.
    attempts: Vec<Attempt, N, u32>,
    /// The number of the attempt that decided the end, or [`UNDECIDED`].
    decisive: u8,
    end: Option<End>,
    not_hedged: NotHedged,
}

/// Not the number of an attempt: a call has at most 255, counted from 0.
const UNDECIDED: u8 = u8::MAX;

impl<const N: usize> Report<N> {
    /// The report of a call that starts at `started` and has done nothing yet.
    // Not `const`: a constant would be copied as a whole, with the empty room for attempts.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            elapsed: Micros::ZERO,
            attempts: Vec::new(),
            decisive: UNDECIDED,
            end: None,
            not_hedged: NotHedged::FinishedFirst,
        }
    }

    /// When the call started, on the driver's clock.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// From the call's start to its end; zero while it has not ended.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed.to_duration()
    }

    /// The same, as the state machine counts it.
    #[must_use]
    pub const fn elapsed_micros(&self) -> Micros {
        self.elapsed
    }

    /// How the call ended; `None` while it has not.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// The attempts, in the order of their starts.
    #[must_use]
    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The numbers of the attempts.
    pub fn ids(&self) -> impl Iterator<Item = AttemptId> + use<N> {
        (0..self.len()).map(AttemptId::new)
    }

    /// The attempt whose result was accepted.
    #[must_use]
    pub fn winner(&self) -> Option<AttemptId> {
        self.decided().filter(|_| self.end == Some(End::Accepted))
    }

    /// The attempt that decided the end: the winner, the fatal one, or the last that failed. If none decided it, the
    /// last that was started.
    #[must_use]
    pub fn decisive(&self) -> Option<AttemptId> {
        self.decided().or_else(|| self.len().checked_sub(1).map(AttemptId::new))
    }

    /// How many attempts there are: at most 255.
    fn len(&self) -> u8 {
        u8::try_from(self.attempts.len()).unwrap_or(u8::MAX)
    }

    fn decided(&self) -> Option<AttemptId> {
        Some(AttemptId::new(self.decisive)).filter(|_| self.decisive != UNDECIDED)
    }

    /// How many attempts followed the first, of whatever kind: brpc's `retried_count`.
    #[must_use]
    pub fn retried_count(&self) -> u8 {
        self.len().saturating_sub(1)
    }

    /// How many backups were sent.
    #[must_use]
    pub fn backups(&self) -> usize {
        self.attempts().iter().filter(|attempt| attempt.kind() == Kind::Backup).count()
    }

    /// Why no backup was sent; `None` if one was. Final once the call has ended.
    #[must_use]
    pub fn not_hedged(&self) -> Option<NotHedged> {
        if self.backups() > 0 { None } else { Some(self.not_hedged) }
    }

    /// Why no backup was sent, if none was.
    pub(super) const fn reason(&self) -> NotHedged {
        self.not_hedged
    }

    pub(super) fn get_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(id.index())
    }

    /// Adds an attempt; `None` at capacity.
    pub(super) fn push(&mut self, attempt: Attempt) -> Option<AttemptId> {
        let id = AttemptId::new(self.len());
        self.attempts.push(attempt).ok()?;
        Some(id)
    }

    pub(super) const fn decide(&mut self, id: AttemptId) {
        self.decisive = id.get();
    }

    pub(super) const fn finish(&mut self, end: End, elapsed: Micros) {
        // No attempt causes these two ends. `decisive` then names the last attempt that was started, since that is
        // where the call stood.
        if matches!(end, End::Deadline | End::Cancelled) {
            self.decisive = UNDECIDED;
        }
        self.end = Some(end);
        self.elapsed = elapsed;
    }

    pub(super) const fn set_not_hedged(&mut self, reason: NotHedged) {
        self.not_hedged = reason;
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> serde::Serialize for Report<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut report = serializer.serialize_struct("Report", 7)?;
        report.serialize_field("started", &self.started)?;
        report.serialize_field("elapsed_us", &self.elapsed_micros().as_micros())?;
        report.serialize_field("end", &self.end)?;
        report.serialize_field("winner", &self.winner())?;
        report.serialize_field("retried_count", &self.retried_count())?;
        report.serialize_field("not_hedged", &self.not_hedged())?;
        report.serialize_field("attempts", self.attempts())?;
        report.end()
    }
}

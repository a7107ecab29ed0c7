//! The report of a call: [`Report`].

use heapless::Vec;

use crate::id::AttemptId;
use crate::outcome::{Attempt, End, Kind, NotHedged};
use crate::time::{Duration, Instant, Micros};

/// The report of a call with at most `N` attempts: the attempts, the end and the times. The call updates its report
/// while it runs. The report is complete once [`Report::end`] says how the call ended.
///
/// `Display` writes one line for a log. `Debug` has a field for most accessors.
#[derive(Clone, PartialEq, Eq)]
pub struct Report<const N: usize = 4> {
    started: Instant,
    elapsed: Micros,
    /// The attempts. The length of the list is stored in 4 bytes (`u32`), not in one byte. The processor would read a
    /// single byte together with the bytes next to it, and this read would wait for recent writes to these bytes.
    attempts: Vec<Attempt, N, u32>,
    /// The number of the attempt that decided the end, or [`UNDECIDED`].
    decisive: u8,
    end: Option<End>,
    not_hedged: NotHedged,
}

/// The value of `decisive` that means "no attempt". It is never an attempt's number: a call has at most 255 attempts,
/// counted from 0.
const UNDECIDED: u8 = u8::MAX;

impl<const N: usize> Report<N> {
    /// Makes an empty report of a call that starts at `started`.
    // This function is not `const`: a constant would be copied as a whole, with the unused memory for attempts.
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

    /// Returns when the call started, as an instant on the driver's clock.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Returns the time from the call's start to its end. Returns zero before the end.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed.to_duration()
    }

    /// Returns the time from the call's start to its end as [`Micros`], the unit of the state machine. Returns zero
    /// before the end.
    #[must_use]
    pub const fn elapsed_micros(&self) -> Micros {
        self.elapsed
    }

    /// Returns how the call ended. Returns `None` before the end.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns the attempts, in the order of their starts.
    #[must_use]
    // Not inlined on a microcontroller: it is called in many places, and code size counts.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Returns the numbers of all attempts, in the order of their starts.
    pub fn ids(&self) -> impl Iterator<Item = AttemptId> + use<N> {
        (0..self.len()).map(AttemptId::new)
    }

    /// Returns the number of the attempt whose result was accepted. Returns `None` if no result was accepted.
    #[must_use]
    pub fn winner(&self) -> Option<AttemptId> {
        self.decided().filter(|_| self.end == Some(End::Accepted))
    }

    /// Returns the number of the attempt that decided how the call ended: the winner, the attempt with a fatal result,
    /// or the last attempt that failed. If no attempt decided the end, for example at the deadline, returns the attempt
    /// that was started last. Returns `None` if no attempt was started.
    #[must_use]
    pub fn decisive(&self) -> Option<AttemptId> {
        self.decided().or_else(|| self.len().checked_sub(1).map(AttemptId::new))
    }

    /// Returns how many attempts there are. There are at most 255.
    fn len(&self) -> u8 {
        u8::try_from(self.attempts.len()).unwrap_or(u8::MAX)
    }

    fn decided(&self) -> Option<AttemptId> {
        Some(AttemptId::new(self.decisive)).filter(|_| self.decisive != UNDECIDED)
    }

    /// Returns how many attempts followed the first one. Retries and backups both count. In brpc this number is called
    /// `retried_count`.
    #[must_use]
    pub fn retried_count(&self) -> u8 {
        self.len().saturating_sub(1)
    }

    /// Returns how many backups were sent.
    #[must_use]
    pub fn backups(&self) -> usize {
        self.attempts().iter().filter(|attempt| attempt.kind() == Kind::Backup).count()
    }

    /// Returns why no backup was sent. Returns `None` if a backup was sent. The result is final once the call has
    /// ended.
    #[must_use]
    pub fn not_hedged(&self) -> Option<NotHedged> {
        if self.backups() > 0 { None } else { Some(self.not_hedged) }
    }

    /// Returns why no backup was sent. The value has no meaning if a backup was sent.
    pub(super) const fn reason(&self) -> NotHedged {
        self.not_hedged
    }

    pub(super) fn get_mut(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(id.index())
    }

    /// Adds an attempt and returns its number. Returns `None` if the report is full.
    pub(super) fn push(&mut self, attempt: Attempt) -> Option<AttemptId> {
        let id = AttemptId::new(self.len());
        self.attempts.push(attempt).ok()?;
        Some(id)
    }

    pub(super) const fn decide(&mut self, id: AttemptId) {
        self.decisive = id.get();
    }

    pub(super) const fn finish(&mut self, end: End, elapsed: Micros) {
        // No attempt causes these two ends, so no attempt is decisive. [`decisive`](Self::decisive) then returns the
        // attempt that was started last.
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

//! Everything that a finished call can tell: [`Report`].

use core::fmt;

use heapless::Vec;

use super::{AddressKey, ServerId};
use crate::policy::{Code, Denial, Verdict};
use crate::time::{Duration, Instant};

/// The number of an attempt within its call, in the order of the starts; the first is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AttemptId(u8);

impl AttemptId {
    /// The first attempt of every call.
    pub const FIRST: Self = Self(0);

    pub(super) const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The place in [`Report::attempts`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an attempt was started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Every call's first.
    #[default]
    First,
    /// After a failure.
    Retry,
    /// Because no answer had come in time.
    Backup,
}

/// Where an attempt stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// No result yet.
    #[default]
    InFlight,
    /// Finished, with this verdict.
    Finished(Verdict),
    /// The call ended without it.
    Abandoned,
}

/// One attempt of a call. 20 bytes.
///
/// Its start is kept for up to 12 days into the call. What it takes is kept to a microsecond for up to 35 minutes, and to 1.024
/// milliseconds for up to 25 days. What is longer stays at the longest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    // Server and address stand apart, or both would be copied as one word from a pick that was written as two.
    server: ServerId,
    /// The low 32 bits of the microseconds from the call's start to the attempt's.
    started: u32,
    address: AddressKey,
    took: Took,
    code: Code,
    /// The next 8 bits of the start.
    started_high: u8,
    is: Is,
}

/// How long an attempt took: microseconds below 2^31, and else units of 1,024 of them with the highest bit set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Took(u32);

impl Took {
    const LONG: u32 = 1 << 31;

    #[expect(clippy::cast_possible_truncation, reason = "each is below 2^31 where it is cast")]
    const fn new(took: Duration) -> Self {
        let micros = took.as_micros();
        let units = micros >> 10;
        Self(if micros < Self::LONG as u64 {
            micros as u32
        } else if units < Self::LONG as u64 {
            units as u32 | Self::LONG
        } else {
            u32::MAX
        })
    }

    const fn get(self) -> Duration {
        let value = (self.0 & !Self::LONG) as u64;
        Duration::from_micros(if self.0 < Self::LONG { value } else { value << 10 })
    }
}

/// A [`Kind`] (bits 4 and 5) and a [`State`] (bits 0 to 2) in one byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Is(u8);

impl Is {
    const IN_FLIGHT: u8 = 0;
    const ABANDONED: u8 = 1;
    const ACCEPT: u8 = 2;
    const RETRY: u8 = 3;
    const WAIT: u8 = 4;
    const FATAL: u8 = 5;
    const STATE: u8 = 0b111;
    const KIND: u8 = 4;

    const fn new(kind: Kind) -> Self {
        Self((kind as u8) << Self::KIND)
    }

    const fn with(self, state: State) -> Self {
        let state = match state {
            State::InFlight => Self::IN_FLIGHT,
            State::Abandoned => Self::ABANDONED,
            State::Finished(Verdict::Accept) => Self::ACCEPT,
            State::Finished(Verdict::Retry) => Self::RETRY,
            State::Finished(Verdict::Wait) => Self::WAIT,
            State::Finished(Verdict::Fatal) => Self::FATAL,
        };
        Self(self.0 & !Self::STATE | state)
    }

    const fn state(self) -> State {
        match self.0 & Self::STATE {
            Self::IN_FLIGHT => State::InFlight,
            Self::ABANDONED => State::Abandoned,
            Self::ACCEPT => State::Finished(Verdict::Accept),
            Self::RETRY => State::Finished(Verdict::Retry),
            Self::WAIT => State::Finished(Verdict::Wait),
            _ => State::Finished(Verdict::Fatal),
        }
    }

    const fn kind(self) -> Kind {
        match self.0 >> Self::KIND {
            0 => Kind::First,
            1 => Kind::Retry,
            _ => Kind::Backup,
        }
    }

    const fn in_flight(self) -> bool {
        self.0 & Self::STATE == Self::IN_FLIGHT
    }
}

/// The longest time from a call's start to an attempt's: 40 bits of microseconds.
const LATEST: u64 = (1 << 40) - 1;

impl Attempt {
    #[expect(clippy::cast_possible_truncation, reason = "the two parts of 40 bits")]
    pub(super) fn start(offset: Duration, server: ServerId, address: AddressKey, kind: Kind) -> Self {
        let offset = Self::kept(offset).as_micros();
        let (started, started_high) = (offset as u32, (offset >> 32) as u8);
        Self { started, started_high, took: Took(0), server, address, code: Code::NONE, is: Is::new(kind) }
    }

    /// A start as an attempt keeps it.
    pub(super) fn kept(offset: Duration) -> Duration {
        offset.min(Duration::from_micros(LATEST))
    }

    /// Ends an attempt in flight by its result; answers how long it took.
    pub(super) fn finish(&mut self, offset: Duration, verdict: Verdict, code: Code) -> Duration {
        self.is = self.is.with(State::Finished(verdict));
        self.code = code;
        self.end(offset)
    }

    /// Ends an attempt in flight that the call does not wait for; answers how long it took.
    pub(super) fn abandon(&mut self, offset: Duration) -> Duration {
        self.is = self.is.with(State::Abandoned);
        self.end(offset)
    }

    fn end(&mut self, offset: Duration) -> Duration {
        let took = offset - self.started();
        self.took = Took::new(took);
        took
    }

    /// The server that it went to.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// The server's address, for comparing.
    #[must_use]
    pub const fn address(&self) -> AddressKey {
        self.address
    }

    /// Why it was started.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.is.kind()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.is.state()
    }

    /// Whether its server is at work on it, as far as the call knows.
    #[must_use]
    pub const fn in_flight(&self) -> bool {
        self.is.in_flight()
    }

    /// Why it failed; [`Code::NONE`] while it has not.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// From the call's start to the attempt's start.
    #[must_use]
    pub const fn started(&self) -> Duration {
        Duration::from_micros(self.started as u64 | (self.started_high as u64) << 32)
    }

    /// From the call's start to the attempt's end; `None` in flight.
    #[must_use]
    pub const fn ended(&self) -> Option<Duration> {
        if self.in_flight() {
            return None;
        }
        Some(Duration::from_micros(self.started().as_micros() + self.took.get().as_micros()))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Attempt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut attempt = serializer.serialize_struct("Attempt", 7)?;
        attempt.serialize_field("kind", &self.kind())?;
        attempt.serialize_field("server", &self.server)?;
        attempt.serialize_field("address", &self.address)?;
        attempt.serialize_field("started_us", &self.started().as_micros())?;
        attempt.serialize_field("ended_us", &self.ended().map(Duration::as_micros))?;
        attempt.serialize_field("state", &self.state())?;
        attempt.serialize_field("code", &self.code)?;
        attempt.end()
    }
}

/// How a call ended (L16).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum End {
    /// A result was accepted: [`Report::winner`].
    Accepted,
    /// No attempt was accepted and no further one is possible: the last failure is the call's.
    Failed,
    /// An attempt's verdict was `Fatal`.
    Fatal,
    /// The deadline passed.
    Deadline,
    /// The caller cancelled, or dropped the call.
    Cancelled,
    /// Nothing was started: the list of servers is empty.
    NoServer,
    /// Nothing was started: there are servers, and all are down.
    AllDown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Failed => "failed",
            Self::Fatal => "refused for good",
            Self::Deadline => "deadline passed",
            Self::Cancelled => "cancelled",
            Self::NoServer => "no server",
            Self::AllDown => "all servers down",
        })
    }
}

/// Why a call sent no backup (L19).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NotHedged {
    /// No backup was asked for.
    Disabled,
    /// One-way, stream or datagram.
    NotHedgeable,
    /// The request must not be sent twice.
    NotIdempotent,
    /// The delay is not below the timeout.
    DelayPastDeadline,
    /// No extra attempt is allowed, or retries used them up.
    NoAttemptLeft,
    /// There is no other address to send it to.
    NoOtherServer,
    /// Backups are only counted, and one would have been sent.
    Shadow,
    /// A limit refused.
    Denied(Denial),
    /// A server asked for a later backup, or for none (R4).
    Pushback,
    /// The call ended before its timer fired, or started nothing at all.
    FinishedFirst,
}

impl fmt::Display for NotHedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled"),
            Self::NotHedgeable => f.write_str("not hedgeable"),
            Self::NotIdempotent => f.write_str("not idempotent"),
            Self::DelayPastDeadline => f.write_str("delay past deadline"),
            Self::NoAttemptLeft => f.write_str("no attempt left"),
            Self::NoOtherServer => f.write_str("no other server"),
            Self::Shadow => f.write_str("shadow"),
            Self::Denied(limit) => write!(f, "denied: {limit}"),
            Self::Pushback => f.write_str("pushback"),
            Self::FinishedFirst => f.write_str("finished first"),
        }
    }
}

/// What happened in a call of at most `N` attempts. Kept by the call as it goes; whole once [`Report::end`] says how it
/// ended.
///
/// `Display` is one line for a log, and `Debug` says what the accessors say.
#[derive(Clone, PartialEq, Eq)]
pub struct Report<const N: usize = 4> {
    started: Instant,
    elapsed: Duration,
    /// Its length is a whole word: a byte is read together with its neighbours, and so waits for what was written to them.
    attempts: Vec<Attempt, N, u32>,
    /// An attempt's number, or [`UNDECIDED`].
    decisive: u8,
    end: Option<End>,
    not_hedged: NotHedged,
}

/// No attempt's number: a call has at most 255.
const UNDECIDED: u8 = u8::MAX;

impl<const N: usize> Report<N> {
    /// Of a call that starts now.
    // Not a constant: that would be copied as a whole, with the room for attempts.
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            elapsed: Duration::ZERO,
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
        self.elapsed
    }

    /// How the call ended; `None` while it has not.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// The attempts, in the order of their starts.
    #[must_use]
    // Asked in many places: on a microcontroller its bytes count.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Their numbers.
    pub fn ids(&self) -> impl Iterator<Item = AttemptId> + use<N> {
        (0..self.len()).map(AttemptId)
    }

    /// The attempt whose result was accepted.
    #[must_use]
    pub fn winner(&self) -> Option<AttemptId> {
        self.decided().filter(|_| self.end == Some(End::Accepted))
    }

    /// The attempt that decided the end: the winner, the fatal one, the last that failed; else the last that was started.
    #[must_use]
    pub fn decisive(&self) -> Option<AttemptId> {
        self.decided().or_else(|| self.len().checked_sub(1).map(AttemptId))
    }

    /// How many attempts there are: at most 255.
    fn len(&self) -> u8 {
        u8::try_from(self.attempts.len()).unwrap_or(u8::MAX)
    }

    fn decided(&self) -> Option<AttemptId> {
        Some(AttemptId(self.decisive)).filter(|_| self.decisive != UNDECIDED)
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

    /// Why no backup was sent; `None` if one was. Settled once the call has ended.
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
        let id = AttemptId(self.len());
        self.attempts.push(attempt).ok()?;
        Some(id)
    }

    pub(super) const fn decide(&mut self, id: AttemptId) {
        self.decisive = id.0;
    }

    pub(super) const fn finish(&mut self, end: End, elapsed: Duration) {
        // These two are nobody's failure: what the caller wants to know is where the call was then.
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
        report.serialize_field("elapsed_us", &self.elapsed.as_micros())?;
        report.serialize_field("end", &self.end)?;
        report.serialize_field("winner", &self.winner())?;
        report.serialize_field("retried_count", &self.retried_count())?;
        report.serialize_field("not_hedged", &self.not_hedged())?;
        report.serialize_field("attempts", self.attempts())?;
        report.end()
    }
}

//! One attempt of a call: [`Attempt`], its [`Kind`] and its [`State`].

use core::fmt;

use super::{Code, Verdict};
use crate::id::{AddressKey, ServerId};
use crate::time::{Duration, Micros};

/// The reason why an attempt was started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// The first attempt of a call.
    #[default]
    First,
    /// The attempt is a retry: it follows a failure.
    Retry,
    /// The attempt is a backup: it was started because no answer had come within the backup delay.
    Backup,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Backup => "backup",
        })
    }
}

/// The state of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// The attempt has no result yet.
    #[default]
    InFlight,
    /// The attempt has a result, with this verdict.
    Finished(Verdict),
    /// The call ended before the attempt had a result.
    Abandoned,
}

/// One attempt of a call, in 20 bytes.
///
/// Times are packed. The start is exact if it is at most 12 days after the call's start. The duration is exact to a
/// microsecond up to 35 minutes, and exact to 1.024 ms up to 25 days. A longer time is stored as the longest possible
/// time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    // The server and the address are not next to each other in memory. If they were, the compiler could read both with
    // one load. But they are written with two stores, and the load would wait for these stores.
    server: ServerId,
    /// The lower 32 bits of the time from the call's start to the attempt's start, in microseconds.
    started: u32,
    address: AddressKey,
    elapsed: PackedDuration,
    code: Code,
    /// Bits 32 to 39 of the time from the call's start to the attempt's start.
    started_high: u8,
    kind_and_state: KindAndState,
}

/// The duration of an attempt, packed into a word. If the highest bit is not set, the word is a number of microseconds.
/// If the highest bit is set, the other bits are a number of units of 1,024 microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PackedDuration(u32);

impl PackedDuration {
    const LONG: u32 = 1 << 31;

    #[expect(clippy::cast_possible_truncation, reason = "each is below 2^31 where it is cast")]
    const fn new(elapsed: Micros) -> Self {
        let micros = elapsed.as_micros();
        let units = micros >> 10;
        Self(if micros < Self::LONG as u64 {
            micros as u32
        } else if units < Self::LONG as u64 {
            units as u32 | Self::LONG
        } else {
            u32::MAX
        })
    }

    const fn get(self) -> Micros {
        let value = (self.0 & !Self::LONG) as u64;
        Micros::from_micros(if self.0 < Self::LONG { value } else { value << 10 })
    }
}

/// A [`Kind`] (bits 4 and 5), a [`State`] (bits 0 to 2), and whether the request never left this client (bit 3), in one
/// byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KindAndState(u8);

impl KindAndState {
    const IN_FLIGHT: u8 = 0;
    const ABANDONED: u8 = 1;
    const ACCEPT: u8 = 2;
    const RETRY: u8 = 3;
    const WAIT: u8 = 4;
    const FATAL: u8 = 5;
    const STATE: u8 = 0b111;
    const NEVER_LEFT: u8 = 1 << 3;
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

/// The longest time from a call's start to an attempt's start that an [`Attempt`] can store, in microseconds (40 bits).
/// A longer time is stored as this value.
const LATEST: u64 = (1 << 40) - 1;

impl Attempt {
    #[expect(clippy::cast_possible_truncation, reason = "the two parts of 40 bits")]
    pub(crate) fn start(offset: Micros, server: ServerId, address: AddressKey, kind: Kind) -> Self {
        let offset = Self::kept(offset).as_micros();
        let (started, started_high) = (offset as u32, (offset >> 32) as u8);
        Self {
            started,
            started_high,
            elapsed: PackedDuration(0),
            server,
            address,
            code: Code::NONE,
            kind_and_state: KindAndState::new(kind),
        }
    }

    /// Returns the value that an attempt stores for a start at `offset`. This is `offset`, or the longest value that
    /// can be stored if `offset` is longer.
    pub(crate) fn kept(offset: Micros) -> Micros {
        offset.min(Micros::from_micros(LATEST))
    }

    /// Ends an attempt that is in flight and has a result. Returns how long the attempt took.
    pub(crate) fn finish(&mut self, offset: Micros, verdict: Verdict, code: Code) -> Micros {
        self.kind_and_state = self.kind_and_state.with(State::Finished(verdict));
        self.code = code;
        self.end(offset)
    }

    /// Records that the request of the attempt never left this client ([T4](crate::rules#T4)).
    pub(crate) const fn set_never_left(&mut self) {
        self.kind_and_state.0 |= KindAndState::NEVER_LEFT;
    }

    /// Ends an attempt that is in flight and has no result, since its call is over. Returns the attempt's age.
    pub(crate) fn abandon(&mut self, offset: Micros) -> Micros {
        self.kind_and_state = self.kind_and_state.with(State::Abandoned);
        self.end(offset)
    }

    fn end(&mut self, offset: Micros) -> Micros {
        let elapsed = offset - self.started_micros();
        self.elapsed = PackedDuration::new(elapsed);
        elapsed
    }

    /// Returns the server that the attempt was sent to.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// Returns the key of the server's address. Equal keys mean equal addresses.
    #[must_use]
    pub const fn address(&self) -> AddressKey {
        self.address
    }

    /// Returns whether this is a first attempt, a retry or a backup.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind_and_state.kind()
    }

    /// Returns the state of the attempt.
    #[must_use]
    pub const fn state(&self) -> State {
        self.kind_and_state.state()
    }

    /// Returns whether the attempt has no result yet and was not abandoned.
    #[must_use]
    pub const fn in_flight(&self) -> bool {
        self.kind_and_state.in_flight()
    }

    /// Returns why the attempt failed. Returns [`Code::NONE`] if it has not failed.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Returns whether the request of the attempt certainly never left this client ([T4](crate::rules#T4)). The retry
    /// policy said so in its [`Judgement`](super::Judgement).
    #[must_use]
    pub const fn never_left(&self) -> bool {
        self.kind_and_state.0 & KindAndState::NEVER_LEFT != 0
    }

    /// Returns the time from the call's start to the attempt's start.
    #[must_use]
    pub const fn started(&self) -> Duration {
        self.started_micros().to_duration()
    }

    /// Returns the time from the call's start to the attempt's start as [`Micros`], the unit of the state machine.
    #[must_use]
    pub const fn started_micros(&self) -> Micros {
        Micros::from_micros(self.started as u64 | (self.started_high as u64) << 32)
    }

    /// Returns the time from the call's start to the attempt's end. Returns `None` while the attempt is in flight.
    #[must_use]
    pub const fn ended(&self) -> Option<Duration> {
        match self.ended_micros() {
            Some(ended) => Some(ended.to_duration()),
            None => None,
        }
    }

    /// Returns the time from the call's start to the attempt's end as [`Micros`], the unit of the state machine.
    /// Returns `None` while the attempt is in flight.
    #[must_use]
    pub const fn ended_micros(&self) -> Option<Micros> {
        if self.in_flight() {
            return None;
        }
        Some(Micros::from_micros(self.started_micros().as_micros() + self.elapsed.get().as_micros()))
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("kind", &self.kind())
            .field("server", &self.server())
            .field("address", &self.address())
            .field("started", &self.started_micros())
            .field("ended", &self.ended_micros())
            .field("state", &self.state())
            .field("code", &self.code())
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Attempt {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "Attempt {{ kind: {}, server: {}, address: {}, started: {}, ended: {}, state: {}, code: {} }}",
            self.kind(),
            self.server(),
            self.address(),
            self.started_micros(),
            self.ended_micros(),
            self.state(),
            self.code(),
        );
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
        attempt.serialize_field("started_us", &self.started_micros().as_micros())?;
        attempt.serialize_field("ended_us", &self.ended_micros().map(Micros::as_micros))?;
        attempt.serialize_field("state", &self.state())?;
        attempt.serialize_field("code", &self.code)?;
        attempt.end()
    }
}

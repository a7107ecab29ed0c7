//! One attempt of a call: [`Attempt`], its [`Kind`] and its [`State`].

use core::fmt;

use super::{Code, Verdict};
use crate::id::{AddressKey, ServerId};
use crate::time::{Duration, Micros};

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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Backup => "backup",
        })
    }
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
/// Times are packed. Its start is exact up to 12 days after the call's start. The time that it takes is exact to a
/// microsecond up to 35 minutes, and to 1.024 ms up to 25 days. Longer times are capped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    // Server and address are not neighbours. Otherwise both would be read as one word from a pick that was written as
    // two, and that read would wait for the writes.
    server: ServerId,
    /// The low 32 bits of the microseconds from the call's start to the attempt's.
    started: u32,
    address: AddressKey,
    elapsed: PackedDuration,
    code: Code,
    /// Bits 32 to 39 of the start.
    started_high: u8,
    kind_and_state: KindAndState,
}

/// How long an attempt took: microseconds below 2^31, and else units of 1,024 of them with the highest bit set.
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

/// A [`Kind`] (bits 4 and 5) and a [`State`] (bits 0 to 2) in one byte.
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

    /// A start, capped to what an attempt can keep.
    pub(crate) fn kept(offset: Micros) -> Micros {
        offset.min(Micros::from_micros(LATEST))
    }

    /// Ends an attempt in flight by its result; answers how long it took.
    pub(crate) fn finish(&mut self, offset: Micros, verdict: Verdict, code: Code) -> Micros {
        self.kind_and_state = self.kind_and_state.with(State::Finished(verdict));
        self.code = code;
        self.end(offset)
    }

    /// Ends an attempt in flight that the call does not wait for; answers how long it took.
    pub(crate) fn abandon(&mut self, offset: Micros) -> Micros {
        self.kind_and_state = self.kind_and_state.with(State::Abandoned);
        self.end(offset)
    }

    fn end(&mut self, offset: Micros) -> Micros {
        let elapsed = offset - self.started_micros();
        self.elapsed = PackedDuration::new(elapsed);
        elapsed
    }

    /// The server that it went to.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// The server's address, for comparison.
    #[must_use]
    pub const fn address(&self) -> AddressKey {
        self.address
    }

    /// Why it was started.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind_and_state.kind()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.kind_and_state.state()
    }

    /// Whether its server is at work on it, as far as the call knows.
    #[must_use]
    pub const fn in_flight(&self) -> bool {
        self.kind_and_state.in_flight()
    }

    /// Why it failed; [`Code::NONE`] while it has not.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// From the call's start to the attempt's start.
    #[must_use]
    pub const fn started(&self) -> Duration {
        self.started_micros().to_duration()
    }

    /// The same, as the state machine counts it.
    #[must_use]
    pub const fn started_micros(&self) -> Micros {
        Micros::from_micros(self.started as u64 | (self.started_high as u64) << 32)
    }

    /// From the call's start to the attempt's end; `None` in flight.
    #[must_use]
    pub const fn ended(&self) -> Option<Duration> {
        match self.ended_micros() {
            Some(ended) => Some(ended.to_duration()),
            None => None,
        }
    }

    /// The same, as the state machine counts it.
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

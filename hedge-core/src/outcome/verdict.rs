//! What an attempt's result means for its call: [`Verdict`], [`Judgement`] and [`Pushback`].

use core::fmt;

use super::Code;
#[cfg(doc)]
use super::ErrorKind;
use crate::time::{Duration, Instant, Micros};

/// What a result means for the call that the attempt belongs to ([L8](crate::rules#L8)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// A success, or a business error: a normal response. It wins the call.
    Accept,
    /// Another server may succeed.
    Retry,
    /// This attempt is lost and not worth another, but what is in flight or pending may still win.
    Wait,
    /// No server will accept it: a malformed or unauthorised request. Ends the call at once.
    Fatal,
}

/// What a server asks about further attempts of any kind ([R4](crate::rules#R4), as in gRPC's A6): to wait, or to send none.
///
/// One that is made here speaks for the service: it holds back attempts to every server. One
/// [`for_server`](Self::for_server) speaks for the server that sent it, as HTTP's `Retry-After` does: other addresses are
/// not held back. It acts like the first only once no usable address is left that the call has not tried.
///
/// It holds whole microseconds, rounded up. `Debug` reads as `Display`: `after 20 ms`, `do not`, and ` (this server)` after
/// either for one server.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pushback {
    /// [`Micros::MAX`] for "do not".
    delay: Micros,
    for_server: bool,
}

impl Pushback {
    /// Start no further attempt in this call. Also what a negative or unparseable delay means.
    pub const DO_NOT: Self = Self { delay: Micros::MAX, for_server: false };

    /// Start the next attempt exactly this much later.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self { delay: Micros::from_duration(delay), for_server: false }
    }

    /// The same, for the server that sent it only.
    #[must_use]
    pub const fn for_server(self) -> Self {
        Self { for_server: true, ..self }
    }

    /// The same, for the whole service.
    #[must_use]
    pub const fn for_service(self) -> Self {
        Self { for_server: false, ..self }
    }

    /// Whether it speaks for its server only.
    #[must_use]
    pub const fn is_of_server(self) -> bool {
        self.for_server
    }

    /// How much later the next attempt may start; `None` if none may.
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self.delay {
            Micros::MAX => None,
            delay => Some(delay.to_duration()),
        }
    }

    /// When the next attempt may start after an answer that came at `now`: [`Instant::NEVER`] if none may.
    pub(crate) fn ends(self, now: Instant) -> Instant {
        now + self.delay
    }
}

impl From<Micros> for Pushback {
    /// As [`Pushback::after`]; [`Micros::MAX`] is [`Pushback::DO_NOT`].
    fn from(delay: Micros) -> Self {
        Self { delay, for_server: false }
    }
}

impl fmt::Display for Pushback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delay {
            Micros::MAX => f.write_str("do not")?,
            delay => write!(f, "after {delay}")?,
        }
        f.write_str(if self.for_server { " (this server)" } else { "" })
    }
}

impl fmt::Debug for Pushback {
    /// As `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Pushback {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.delay {
            Micros::MAX => defmt::write!(f, "do not"),
            delay => defmt::write!(f, "after {}", delay),
        }
        if self.for_server {
            defmt::write!(f, " (this server)");
        }
    }
}

/// A [`Pushback`] as serde's derives write it.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    After(Micros),
    DoNot,
    ServerAfter(Micros),
    ServerDoNot,
}

#[cfg(feature = "serde")]
impl serde::Serialize for Pushback {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.delay, self.for_server) {
            (Micros::MAX, false) => Written::DoNot,
            (Micros::MAX, true) => Written::ServerDoNot,
            (delay, false) => Written::After(delay),
            (delay, true) => Written::ServerAfter(delay),
        }
        .serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Pushback {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::After(delay) => delay.into(),
            Written::DoNot => Self::DO_NOT,
            Written::ServerAfter(delay) => Self::from(delay).for_server(),
            Written::ServerDoNot => Self::DO_NOT.for_server(),
        })
    }
}

/// Everything that the core needs to know about an attempt's result.
///
/// A plain [`Verdict`] converts into one: no code, the request may have left, no pushback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Judgement {
    /// What the result means for the call.
    pub verdict: Verdict,
    /// Why, for the report.
    pub code: Code,
    /// The request certainly never left this client ([T4](crate::rules#T4)): retrying is safe even when it is not
    /// idempotent ([R5](crate::rules#R5)).
    pub never_left: bool,
    /// It failed at this client, or by its caller's fault. Balancers and breakers learn nothing about the server from it
    /// ([S7](crate::rules#S7)).
    pub local: bool,
    /// What the server asks about further attempts; read on failures only.
    pub pushback: Option<Pushback>,
}

impl Judgement {
    /// `verdict` because of `code`. The request may have left, and there is no pushback. It is [`local`](Self::local) if
    /// `code` is that of a local [`ErrorKind`].
    #[must_use]
    pub const fn new(verdict: Verdict, code: Code) -> Self {
        Self { verdict, code, never_left: false, local: code.is_local(), pushback: None }
    }

    /// The same, for a request that certainly never left. Such a request says nothing about the server, unless the server
    /// could not be connected to ([`ErrorKind::Refused`], [`ErrorKind::ConnectTimeout`]).
    #[must_use]
    pub const fn never_left(self) -> Self {
        Self { never_left: true, local: !self.code.is_of_connecting(), ..self }
    }

    /// The same, for a failure that says nothing about the server.
    #[must_use]
    pub const fn local(self) -> Self {
        Self { local: true, ..self }
    }

    /// The same, with what the server asks about further attempts.
    #[must_use]
    pub const fn with_pushback(self, pushback: Pushback) -> Self {
        Self { pushback: Some(pushback), ..self }
    }
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        Self::new(verdict, Code::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r4_a_pushback_speaks_for_the_service_or_for_its_server() {
        let wait = Pushback::after(Duration::from_millis(5));
        for pushback in [wait, Pushback::DO_NOT] {
            assert!(!pushback.is_of_server() && pushback.for_server().is_of_server());
            assert_eq!(pushback.for_server().for_service(), pushback);
        }
    }
}

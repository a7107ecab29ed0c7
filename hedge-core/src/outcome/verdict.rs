//! The types that say what an attempt's result means for its call: [`Verdict`], [`Judgement`] and [`Pushback`].

use core::fmt;

use super::Code;
#[cfg(doc)]
use super::ErrorKind;
use crate::time::{Duration, Instant, Micros};

/// The meaning of an attempt's result for its call ([L8](crate::rules#L8)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The attempt succeeded. The result may also be a business error, which is a normal response. The result wins the
    /// call.
    Accept,
    /// This attempt failed, and another server may succeed. The call may retry.
    Retry,
    /// This attempt failed and is not retried. But another attempt that is in flight or pending may still win.
    Wait,
    /// No server will accept the request, for example because it is malformed or unauthorised. The call ends at once.
    Fatal,
}

/// A server's request to wait before further attempts, or to send no further attempt ([R4](crate::rules#R4), as in
/// gRPC's proposal A6). It applies to attempts of any kind.
///
/// By default, a pushback concerns the whole service: it delays attempts at every server. A pushback made by
/// [`for_server`](Self::for_server) concerns only the server that sent it, like HTTP's `Retry-After`: attempts at other
/// addresses are not delayed. Once the call has tried every usable address, such a pushback acts like one that concerns
/// the whole service.
///
/// The delay is stored in whole microseconds, rounded up. `Debug` and `Display` write `after 20 ms` or `do not`. If the
/// pushback concerns only one server, ` (this server)` follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pushback {
    /// How long to wait. [`Micros::MAX`] means that no further attempt may start.
    delay: Micros,
    for_server: bool,
}

impl Pushback {
    /// The pushback after which the call starts no further attempt. A negative delay, or a delay that cannot be parsed,
    /// is read as this pushback.
    pub const DO_NOT: Self = Self { delay: Micros::MAX, for_server: false };

    /// Returns a pushback that delays further attempts: a pending retry is due `delay` after this answer, and a planned
    /// backup waits for its own backup delay from then on.
    #[must_use]
    pub const fn after(delay: Duration) -> Self {
        Self { delay: Micros::from_duration(delay), for_server: false }
    }

    /// Returns this pushback, changed so that it concerns only the server that sent it.
    #[must_use]
    pub const fn for_server(self) -> Self {
        Self { for_server: true, ..self }
    }

    /// Returns this pushback, changed so that it concerns the whole service.
    #[must_use]
    pub const fn for_service(self) -> Self {
        Self { for_server: false, ..self }
    }

    /// Returns whether this pushback concerns only the server that sent it.
    #[must_use]
    pub const fn is_of_server(self) -> bool {
        self.for_server
    }

    /// Returns how long after this answer the next attempt may start. Returns `None` if no attempt may start.
    #[must_use]
    pub const fn delay(self) -> Option<Duration> {
        match self.delay {
            Micros::MAX => None,
            delay => Some(delay.to_duration()),
        }
    }

    /// Returns when the next attempt may start, if the answer came at `now`. Returns [`Instant::NEVER`] if no attempt
    /// may start.
    pub(crate) fn ends(self, now: Instant) -> Instant {
        now + self.delay
    }
}

impl From<Micros> for Pushback {
    /// Does the same as [`Pushback::after`]. [`Micros::MAX`] becomes [`Pushback::DO_NOT`].
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
    /// Writes the same text as `Display`.
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

/// The same content as [`Pushback`], in the form that serde's derive writes.
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

/// The data that a call needs about an attempt's result.
///
/// A [`Verdict`] converts into a judgement. This judgement has no code and no pushback, and its request may have left
/// this client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Judgement {
    /// The meaning of the result for the call.
    pub verdict: Verdict,
    /// Why the attempt failed, for the report.
    pub code: Code,
    /// Whether the request certainly never left this client ([T4](crate::rules#T4)). If so, a retry is safe even if the
    /// call is not idempotent ([R5](crate::rules#R5)).
    pub never_left: bool,
    /// Whether the attempt failed at this client or because of its caller. If so, balancers and breakers learn nothing
    /// about the server ([S7](crate::rules#S7)).
    pub local: bool,
    /// The server's pushback, if it sent one. The pushback is used only for failures.
    pub pushback: Option<Pushback>,
}

impl Judgement {
    /// Makes a judgement with this verdict and code, without a pushback. The request may have left this client. The
    /// judgement is [`local`](Self::local) if `code` is [`ErrorKind::Local`], [`ErrorKind::ServerGone`] or
    /// [`ErrorKind::RequestBody`].
    #[must_use]
    pub const fn new(verdict: Verdict, code: Code) -> Self {
        Self { verdict, code, never_left: false, local: code.is_local(), pushback: None }
    }

    /// Returns this judgement, changed for a request that certainly never left this client. Such a request says nothing
    /// about the server, unless the connection could not be made ([`ErrorKind::Refused`],
    /// [`ErrorKind::ConnectTimeout`]).
    #[must_use]
    pub const fn never_left(self) -> Self {
        Self { never_left: true, local: !self.code.is_of_connecting(), ..self }
    }

    /// Returns this judgement, changed for a failure that says nothing about the server.
    #[must_use]
    pub const fn local(self) -> Self {
        Self { local: true, ..self }
    }

    /// Returns this judgement with a server's pushback added.
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

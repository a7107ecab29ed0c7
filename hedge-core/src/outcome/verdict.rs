//! What an attempt's result means for its call: [`Verdict`], [`Judgement`] and [`Pushback`].

use super::Code;
#[cfg(doc)]
use super::ErrorKind;
use crate::time::Duration;

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

/// What a server asks about further attempts of any kind ([R4](crate::rules#R4), as in gRPC's A6).
///
/// The first two speak for the service: they hold back attempts to every server. The `Server` ones speak for the server
/// that sent them, as HTTP's `Retry-After` does: other addresses are not held back. They act like the first two only once
/// no usable address is left that the call has not tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// Without this the tag takes 64 bits on a microcontroller, as the time in a variant does.
#[repr(usize)]
pub enum Pushback {
    /// Start the next attempt exactly this much later.
    After(Duration),
    /// Start no further attempt in this call. Also what a negative or unparseable delay means.
    DoNot,
    /// [`After`](Self::After), for this server only.
    ServerAfter(Duration),
    /// [`DoNot`](Self::DoNot), for this server only.
    ServerDoNot,
}

impl Pushback {
    /// The same, for the server that sent it only.
    #[must_use]
    pub const fn for_server(self) -> Self {
        match self {
            Self::After(delay) | Self::ServerAfter(delay) => Self::ServerAfter(delay),
            Self::DoNot | Self::ServerDoNot => Self::ServerDoNot,
        }
    }

    /// The same, for the whole service.
    #[must_use]
    pub const fn for_service(self) -> Self {
        match self {
            Self::After(delay) | Self::ServerAfter(delay) => Self::After(delay),
            Self::DoNot | Self::ServerDoNot => Self::DoNot,
        }
    }

    /// Whether it speaks for its server only.
    #[must_use]
    pub const fn is_of_server(self) -> bool {
        matches!(self, Self::ServerAfter(_) | Self::ServerDoNot)
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
        let wait = Pushback::After(Duration::from_millis(5));
        for pushback in [wait, Pushback::DoNot] {
            assert!(!pushback.is_of_server() && pushback.for_server().is_of_server());
            assert_eq!(pushback.for_server().for_service(), pushback);
        }
    }
}

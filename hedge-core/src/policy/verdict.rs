//! What an attempt's result means for its call: [`Verdict`], and the [`RetryPolicy`] that gives it.

use core::fmt;

use crate::time::Duration;

/// What a result means for the call that the attempt belongs to (L8).
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

/// What a server asks about the next start of any kind (R4, as in gRPC's A6).
///
/// The first two speak for the service: every server is left alone. The `Server` ones speak for the server that sent them,
/// as HTTP's `Retry-After` does: other addresses are not held back. They act like the first two only once no usable address
/// is left that the call has not tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pushback {
    /// Start the next attempt exactly so much later.
    After(Duration),
    /// Start no further attempt in this call. Also what a negative or unparseable delay means.
    DoNot,
    /// [`After`](Self::After), said of this server only.
    ServerAfter(Duration),
    /// [`DoNot`](Self::DoNot), said of this server only.
    ServerDoNot,
}

impl Pushback {
    /// The same, said of the server that sent it.
    #[must_use]
    pub const fn for_server(self) -> Self {
        match self {
            Self::After(delay) | Self::ServerAfter(delay) => Self::ServerAfter(delay),
            Self::DoNot | Self::ServerDoNot => Self::ServerDoNot,
        }
    }

    /// The same, said of the whole service.
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
    /// The request certainly never left this client (T4): retrying is safe even when it is not idempotent (R5).
    pub never_left: bool,
    /// It failed at this client or by its caller's fault. Balancers and breakers learn nothing about the server from it (S7).
    pub local: bool,
    /// What the server asks about further attempts; read on failures only.
    pub pushback: Option<Pushback>,
}

impl Judgement {
    /// `verdict` because of `code`; the request may have left, no pushback. It is [`local`](Self::local) if the code is that
    /// of an [`ErrorKind`] that is.
    #[must_use]
    pub const fn new(verdict: Verdict, code: Code) -> Self {
        Self { verdict, code, never_left: false, local: code.is_local(), pushback: None }
    }

    /// The same, of a request that certainly never left. What never left says nothing of the server, unless it could not
    /// connect to it ([`ErrorKind::Refused`], [`ErrorKind::ConnectTimeout`]).
    #[must_use]
    pub const fn never_left(self) -> Self {
        Self { never_left: true, local: !self.code.is_of_connecting(), ..self }
    }

    /// The same, of a failure that says nothing of the server.
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

/// Why an attempt failed, as a report keeps it: 0 is "not said", 1 to 99 are [`ErrorKind`]s, 100 to 999 HTTP statuses,
/// and the rest is the user's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Code(pub u16);

impl Code {
    /// Not said.
    pub const NONE: Self = Self(0);

    /// Whether it is the code of a kind that says nothing of the server.
    const fn is_local(self) -> bool {
        const LOCAL: u16 = ErrorKind::Local as u16;
        const GONE: u16 = ErrorKind::ServerGone as u16;
        const BODY: u16 = ErrorKind::RequestBody as u16;
        matches!(self.0, LOCAL | GONE | BODY)
    }

    /// Whether it is the code of a connection that could not be made.
    const fn is_of_connecting(self) -> bool {
        const REFUSED: u16 = ErrorKind::Refused as u16;
        const TIMEOUT: u16 = ErrorKind::ConnectTimeout as u16;
        matches!(self.0, REFUSED | TIMEOUT)
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        Self(kind as u16)
    }
}

impl Code {
    fn kind(self) -> Option<ErrorKind> {
        ErrorKind::ALL.iter().copied().find(|kind| Self::from(*kind) == self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => kind.fmt(f),
            None if *self == Self::NONE => f.write_str("not said"),
            None if (100..1000).contains(&self.0) => write!(f, "status {}", self.0),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    /// As `Display`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Code {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.kind() {
            Some(kind) => defmt::write!(f, "{}", kind),
            None if *self == Self::NONE => defmt::write!(f, "not said"),
            None if (100..1000).contains(&self.0) => defmt::write!(f, "status {=u16}", self.0),
            None => defmt::write!(f, "code {=u16}", self.0),
        }
    }
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $verdict:ident, $text:literal;)*) => {
        /// What kind of failure an attempt met, in the terms of the default retry policy (R1).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name = $code,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What the default retry policy says of it.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self {
                    $(Self::$name => Verdict::$verdict,)*
                }
            }
        }

        impl fmt::Display for ErrorKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }
    };
}

error_kinds! {
    /// The connection was refused or could not be made. Retried.
    Refused = 1, Retry, "connection refused";
    /// The connection was not made in time. Retried.
    ConnectTimeout = 2, Retry, "connect timeout";
    /// The connection broke before the whole answer was there. Retried.
    Broken = 3, Retry, "connection broken";
    /// The server reset the connection. Retried.
    Reset = 4, Retry, "connection reset";
    /// The server said that it is logging off. Retried.
    LoggingOff = 5, Retry, "server is logging off";
    /// The server said that it is over its limit. Retried.
    OverLimit = 6, Retry, "server over its limit";
    /// Too much is waiting to be written to this server. Retried.
    Overcrowded = 7, Retry, "socket overcrowded";
    /// The server that the balancer chose is gone from the list. Retried.
    ServerGone = 8, Retry, "server gone from the list";
    /// The transport's own view of the call's deadline. Never retried, whatever a policy says.
    Deadline = 9, Wait, "deadline";
    /// The server failed inside. Not worth another attempt.
    Internal = 10, Wait, "internal error";
    /// The answer is larger than the caller takes. Not worth another attempt.
    TooLarge = 11, Wait, "answer over the limit";
    /// The answer does not follow the protocol. Not worth another attempt.
    Protocol = 12, Wait, "protocol error";
    /// No server will accept this request: malformed, or not what the transport can send.
    BadRequest = 13, Fatal, "bad request";
    /// No server will accept this request from this client.
    Unauthorized = 14, Fatal, "unauthorized";
    /// It failed at this client before anything left: no descriptor or port was free, or the server's name has no address.
    /// Retried; the server is not to blame.
    Local = 15, Retry, "failed at this client";
    /// The caller's own request body failed, or is not as long as it was announced. The server is not to blame.
    RequestBody = 16, Fatal, "request body failed";
    /// The attempt took longer than a single attempt may (L21). Retried; the server is to blame.
    AttemptTimeout = 17, Retry, "attempt timeout";
}

impl ErrorKind {
    /// Whether a failure of this kind means that the request certainly never left this client (T4).
    #[must_use]
    pub const fn never_left(self) -> bool {
        matches!(self, Self::Refused | Self::ConnectTimeout | Self::ServerGone | Self::Local)
    }
}

/// An attempt's typed error, as the default retry policy wants to see it.
pub trait AttemptError {
    /// What kind of failure it is.
    fn kind(&self) -> ErrorKind;

    /// Whether the request certainly never left this client.
    fn never_left(&self) -> bool {
        self.kind().never_left()
    }

    /// Whether it says nothing of the server (S7): it failed at this client, or by its caller's fault. By default what never
    /// left, but for connections that could not be made, and a failed request body.
    fn local(&self) -> bool {
        let judgement = Judgement::new(Verdict::Wait, self.kind().into());
        if self.never_left() { judgement.never_left().local } else { judgement.local }
    }

    /// What the server asked about further attempts.
    fn pushback(&self) -> Option<Pushback> {
        None
    }
}

/// Maps an attempt's result to what it means (L8). It sees successes too and may ask for a retry of them (R2).
///
/// Closures `Fn(Result<&Reply, &Error>) -> Judgement` are policies.
pub trait RetryPolicy<Reply, Error> {
    /// The judgement on one result.
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement;
}

impl<F, Reply, Error> RetryPolicy<Reply, Error> for F
where
    F: Fn(Result<&Reply, &Error>) -> Judgement,
{
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        self(result)
    }
}

/// The default (R1): every reply is accepted, an error is judged by its [`ErrorKind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DefaultRetryPolicy;

impl<Reply, Error: AttemptError> RetryPolicy<Reply, Error> for DefaultRetryPolicy {
    fn judge(&self, result: Result<&Reply, &Error>) -> Judgement {
        match result {
            Ok(_) => Verdict::Accept.into(),
            Err(error) => Judgement {
                verdict: error.kind().verdict(),
                code: error.kind().into(),
                never_left: error.never_left(),
                local: error.local(),
                pushback: error.pushback(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    struct Failed(ErrorKind);

    impl AttemptError for Failed {
        fn kind(&self) -> ErrorKind {
            self.0
        }
    }

    #[test]
    fn r1_default_policy_retries_what_another_server_may_answer() {
        let judge = |kind| RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(kind))).verdict;
        for kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::Deadline | ErrorKind::Internal | ErrorKind::TooLarge | ErrorKind::Protocol => Verdict::Wait,
                ErrorKind::BadRequest | ErrorKind::Unauthorized | ErrorKind::RequestBody => Verdict::Fatal,
                _ => Verdict::Retry,
            };
            assert_eq!(judge(*kind), expected, "{kind}");
        }
    }

    #[test]
    fn t4_only_what_never_left_says_so() {
        let left: std::vec::Vec<_> = ErrorKind::ALL.iter().filter(|kind| kind.never_left()).collect();
        use ErrorKind::{ConnectTimeout, Local, Refused, ServerGone};
        assert_eq!(left, [&Refused, &ConnectTimeout, &ServerGone, &Local]);
        for kind in ErrorKind::ALL {
            let judgement = RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(*kind)));
            assert_eq!(judgement.never_left, kind.never_left(), "{kind}");
            assert_eq!((judgement.code, judgement.pushback), (Code::from(*kind), None));
        }
    }

    #[test]
    fn s7_what_never_left_and_what_the_caller_broke_says_nothing_of_the_server() {
        use ErrorKind::{BadRequest, Broken, ConnectTimeout, Local, Refused, RequestBody, ServerGone};
        let local = |kind: ErrorKind| Judgement::new(kind.verdict(), kind.into());
        for kind in ErrorKind::ALL {
            assert_eq!(local(*kind).local, matches!(kind, Local | ServerGone | RequestBody), "{kind}");
            let unsent = local(*kind).never_left().local;
            assert_eq!(unsent, !matches!(kind, Refused | ConnectTimeout), "{kind} that never left");
            let judged = RetryPolicy::<(), Failed>::judge(&DefaultRetryPolicy, Err(&Failed(*kind)));
            assert_eq!(judged.local, matches!(kind, Local | ServerGone | RequestBody), "{kind} by default");
        }
        assert!(!local(BadRequest).local, "a server may say so too");
        assert!(local(Broken).local().local);
    }

    #[test]
    fn r4_a_pushback_speaks_for_the_service_or_for_its_server() {
        let wait = Pushback::After(Duration::from_millis(5));
        for pushback in [wait, Pushback::DoNot] {
            assert!(!pushback.is_of_server() && pushback.for_server().is_of_server());
            assert_eq!(pushback.for_server().for_service(), pushback);
        }
    }

    #[test]
    fn r2_a_closure_is_a_policy_and_sees_successes() {
        let policy = |result: Result<&u16, &()>| match result {
            Ok(403) => Judgement::new(Verdict::Retry, Code(403)),
            Ok(_) => Verdict::Accept.into(),
            Err(()) => Verdict::Wait.into(),
        };
        assert_eq!(policy.judge(Ok(&403)).verdict, Verdict::Retry);
        assert_eq!(policy.judge(Ok(&200)).verdict, Verdict::Accept);
    }

    #[test]
    fn codes_name_what_they_can() {
        assert_eq!(Code::from(ErrorKind::Refused).to_string(), "connection refused");
        assert_eq!(Code(503).to_string(), "status 503");
        assert_eq!(Code(4000).to_string(), "code 4000");
        assert_eq!(Code::NONE.to_string(), "not said");
        for code in [Code::from(ErrorKind::Refused), Code(503), Code(4000), Code::NONE] {
            assert_eq!(std::format!("{code:?}"), code.to_string());
        }
    }
}

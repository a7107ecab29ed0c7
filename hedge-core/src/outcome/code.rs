//! The reason why an attempt failed: [`Code`] and [`ErrorKind`].

use core::fmt;

use super::Verdict;

/// The reason why an attempt failed, as a number. 0 means that no reason was given. 1 to 99 are [`ErrorKind`]s, 100 to
/// 999 are HTTP statuses, and 1000 to 1016 are gRPC's status codes plus 1000. Programs may use all other numbers for
/// their own reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Code(pub u16);

impl Code {
    /// No reason was given, or there was no failure.
    pub const NONE: Self = Self(0);

    /// Returns whether this is the code of [`ErrorKind::Local`], [`ErrorKind::ServerGone`] or
    /// [`ErrorKind::RequestBody`]. These kinds of failure say nothing about the server.
    pub(super) const fn is_local(self) -> bool {
        const LOCAL: u16 = ErrorKind::Local as u16;
        const GONE: u16 = ErrorKind::ServerGone as u16;
        const BODY: u16 = ErrorKind::RequestBody as u16;
        matches!(self.0, LOCAL | GONE | BODY)
    }

    /// Returns whether this is the code of a connection that could not be made.
    pub(super) const fn is_of_connecting(self) -> bool {
        const REFUSED: u16 = ErrorKind::Refused as u16;
        const TIMEOUT: u16 = ErrorKind::ConnectTimeout as u16;
        matches!(self.0, REFUSED | TIMEOUT)
    }
}

impl Code {
    fn kind(self) -> Option<ErrorKind> {
        ErrorKind::ALL.iter().copied().find(|kind| Self::from(*kind) == self)
    }
}

/// The names of gRPC's status codes, indexed by the code.
pub(crate) const GRPC_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Code {
    /// Returns the name of the gRPC status code. Returns `None` if this is not a gRPC status code.
    fn grpc_name(self) -> Option<&'static str> {
        GRPC_NAMES.get(usize::from(self.0.checked_sub(1_000)?)).copied()
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        Self(kind as u16)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => kind.fmt(f),
            None if *self == Self::NONE => f.write_str("not said"),
            None if (100..1000).contains(&self.0) => write!(f, "status {}", self.0),
            None => match self.grpc_name() {
                Some(name) => write!(f, "gRPC {name}"),
                None => write!(f, "code {}", self.0),
            },
        }
    }
}

impl fmt::Debug for Code {
    /// Writes the same text as `Display`.
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
            None => match self.grpc_name() {
                Some(name) => defmt::write!(f, "gRPC {=str}", name),
                None => defmt::write!(f, "code {=u16}", self.0),
            },
        }
    }
}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $verdict:ident, $text:literal;)*) => {
        /// The kinds of failure of an attempt. The doc of each kind says what the default retry policy does
        /// ([R1](crate::rules#R1)).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name = $code,)*
        }

        impl ErrorKind {
            /// All kinds, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the verdict that the default retry policy gives to this kind.
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
    /// The connection was refused or could not be made. The call is retried.
    Refused = 1, Retry, "connection refused";
    /// The connection was not made in time. The call is retried.
    ConnectTimeout = 2, Retry, "connect timeout";
    /// The connection broke before the whole answer had arrived. The call is retried.
    Broken = 3, Retry, "connection broken";
    /// The server reset the connection. The call is retried.
    Reset = 4, Retry, "connection reset";
    /// The server said that it is logging off. The call is retried.
    LoggingOff = 5, Retry, "server is logging off";
    /// The server said that it is over its limit. The call is retried.
    OverLimit = 6, Retry, "server over its limit";
    /// Too much data is waiting to be written to this server. The call is retried.
    Overcrowded = 7, Retry, "socket overcrowded";
    /// The server that the balancer chose is gone from the list. The call is retried.
    ServerGone = 8, Retry, "server gone from the list";
    /// The transport itself noticed that the call's deadline had passed. The call is never retried, whatever a policy
    /// says.
    Deadline = 9, Wait, "deadline";
    /// The server had an internal error. The call is not retried.
    Internal = 10, Wait, "internal error";
    /// The answer is larger than the caller allows. The call is not retried.
    TooLarge = 11, Wait, "answer over the limit";
    /// The answer does not follow the protocol. The call is not retried.
    Protocol = 12, Wait, "protocol error";
    /// The request is malformed, or the transport cannot send it. No server will accept it, so the call ends.
    BadRequest = 13, Fatal, "bad request";
    /// The server does not allow this client to make this request. No server will accept it, so the call ends.
    Unauthorized = 14, Fatal, "unauthorized";
    /// The attempt failed at this client before anything was sent. For example, no file descriptor or port was free, or
    /// the server's name has no address. The call is retried. The server is not blamed.
    Local = 15, Retry, "failed at this client";
    /// The caller's own request body failed, or its length differs from the announced length. The call ends. The server
    /// is not blamed.
    RequestBody = 16, Fatal, "request body failed";
    /// The attempt took longer than the limit for a single attempt ([L21](crate::rules#L21)). The call is retried. The
    /// server is blamed.
    AttemptTimeout = 17, Retry, "attempt timeout";
}

impl ErrorKind {
    /// Returns whether a failure of this kind means that the request certainly never left this client
    /// ([T4](crate::rules#T4)).
    #[must_use]
    pub const fn never_left(self) -> bool {
        matches!(self, Self::Refused | Self::ConnectTimeout | Self::ServerGone | Self::Local | Self::Overcrowded)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn codes_name_what_they_can() {
        assert_eq!(Code::from(ErrorKind::Refused).to_string(), "connection refused");
        assert_eq!(Code(503).to_string(), "status 503");
        assert_eq!(Code(1000).to_string(), "gRPC OK");
        assert_eq!(Code(1014).to_string(), "gRPC UNAVAILABLE");
        assert_eq!(Code(1016).to_string(), "gRPC UNAUTHENTICATED");
        assert_eq!(Code(1017).to_string(), "code 1017");
        assert_eq!(Code(4000).to_string(), "code 4000");
        assert_eq!(Code::NONE.to_string(), "not said");
        for code in [Code::from(ErrorKind::Refused), Code(503), Code(4000), Code::NONE] {
            assert_eq!(std::format!("{code:?}"), code.to_string());
        }
    }
}

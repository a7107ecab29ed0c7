//! The error codes of brpc: [`ErrorCode`].

use core::fmt;

use super::Packet;

/// An error code of an answer: one of brpc's own, an error number of Linux, or a number that the service has chosen.
///
/// ```
/// use hedge_wire::baidu_std::{ErrorCode, Meaning};
///
/// assert_eq!((ErrorCode::ELIMIT.meaning(), ErrorCode::ELIMIT.is_retried_by_brpc()), (Meaning::Refused, true));
/// assert_eq!((ErrorCode(4001).meaning(), ErrorCode(4001).is_retried_by_brpc()), (Meaning::Answer, false));
/// assert_eq!((format!("{}", ErrorCode::ELIMIT), format!("{}", ErrorCode(4001))), ("2004 ELIMIT".into(), "4001".into()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorCode(
    /// The number on the wire.
    pub i32,
);

/// What an error code says about the call, for a client that may try again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Meaning {
    /// The call has succeeded.
    Success,
    /// The server did not begin the call, since it has too much to do or is about to leave. Another server can take it.
    Refused,
    /// A connection failed, at the client or behind the server. It is not known whether the call was made.
    Connection,
    /// The request is at fault: no such service or method, a message that cannot be read, a wrong credential. Another
    /// server that runs the same program answers the same.
    BadRequest,
    /// The time of the call is over.
    Deadline,
    /// The call was cancelled.
    Cancelled,
    /// The server has failed in the middle of the call, or its answer could not be read.
    Internal,
    /// The service has answered with an error of its own. This is an answer, not a failure of the server.
    Answer,
}

/// The codes, each with its name. The names are brpc's and those of Linux.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name that brpc has for this code, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The server does not know the service.
    ENOSERVICE = 1001,
    /// The server does not know the method.
    ENOMETHOD = 1002,
    /// The request cannot be read.
    EREQUEST = 1003,
    /// The credential was refused.
    ERPCAUTH = 1004,
    /// Too many parts of a parallel call have failed.
    ETOOMANYFAILS = 1005,
    /// A backup request is due. brpc's clients use it among themselves.
    EBACKUPREQUEST = 1007,
    /// The call has reached its timeout.
    ERPCTIMEDOUT = 1008,
    /// The connection has broken.
    EFAILEDSOCKET = 1009,
    /// An HTTP server has answered with a status outside 2xx.
    EHTTP = 1010,
    /// Too much waits to be written to the connection.
    EOVERCROWDED = 1011,
    /// The peer has closed the connection.
    EEOF = 1014,
    /// The connection was not used.
    EUNUSED = 1015,
    /// TLS has failed.
    ESSL = 1016,
    /// An HTTP/2 connection has no more ids for streams.
    EH2RUNOUTSTREAMS = 1017,
    /// The client's policy has rejected the call.
    EREJECT = 1018,
    /// The server has failed, without a code of its own.
    EINTERNAL = 2001,
    /// The answer cannot be read.
    ERESPONSE = 2002,
    /// The server is about to stop.
    ELOGOFF = 2003,
    /// The server has reached the limit of its concurrency.
    ELIMIT = 2004,
    /// The connection was closed on purpose.
    ECLOSE = 2005,
    /// Linux: there is no such file or server.
    ENOENT = 2,
    /// Linux: an argument is not valid. brpc's clients use this code for bytes that are not a frame.
    EINVAL = 22,
    /// Linux: the connection was closed while it was written to.
    EPIPE = 32,
    /// Linux: there are no data. brpc's clients use this code for a list without servers.
    ENODATA = 61,
    /// Linux: the connection was reset.
    ECONNRESET = 104,
    /// Linux: connecting took too long.
    ETIMEDOUT = 110,
    /// Linux: the connection was refused.
    ECONNREFUSED = 111,
    /// Linux: the host is down. brpc's clients use this code for a server that fails its health check.
    EHOSTDOWN = 112,
    /// Linux: the call was cancelled.
    ECANCELED = 125,
}

impl ErrorCode {
    /// What the code says about the call. A code without a name is an answer of the service.
    #[must_use]
    pub const fn meaning(self) -> Meaning {
        match self {
            Self(0) => Meaning::Success,
            Self::ELOGOFF | Self::ELIMIT | Self::EOVERCROWDED => Meaning::Refused,
            Self::ENOSERVICE | Self::ENOMETHOD | Self::EREQUEST | Self::ERPCAUTH | Self::EINVAL => Meaning::BadRequest,
            Self::ERPCTIMEDOUT => Meaning::Deadline,
            Self::ECANCELED => Meaning::Cancelled,
            Self::EINTERNAL | Self::ERESPONSE => Meaning::Internal,
            Self::EFAILEDSOCKET
            | Self::EEOF
            | Self::ESSL
            | Self::EH2RUNOUTSTREAMS
            | Self::ECLOSE
            | Self::ENOENT
            | Self::EPIPE
            | Self::ENODATA
            | Self::ECONNRESET
            | Self::ETIMEDOUT
            | Self::ECONNREFUSED
            | Self::EHOSTDOWN => Meaning::Connection,
            _ => Meaning::Answer,
        }
    }

    /// Whether the default policy of brpc's clients makes another attempt after this code.
    #[must_use]
    pub const fn is_retried_by_brpc(self) -> bool {
        match self.meaning() {
            Meaning::Refused => true,
            Meaning::Connection => !matches!(self, Self::ESSL | Self::ECLOSE),
            _ => false,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}

/// An answer that says that the call has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpcError<'a> {
    /// The code, which is not 0.
    pub code: ErrorCode,
    /// The text as the server wrote it, in any encoding. brpc's servers begin it with their address and the code, as in
    /// `[10.0.0.1:80][E1002]Fail to find method=probe.Echo/Nope`.
    pub text: &'a [u8],
}

impl fmt::Display for RpcError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: ", self.code)?;
        for chunk in self.text.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl core::error::Error for RpcError<'_> {}

impl<'a> Packet<'a> {
    /// The error that an answer carries. Its message and attachment mean nothing then. `None` if the call has succeeded.
    #[must_use]
    pub fn error(&self) -> Option<RpcError<'a>> {
        let response = self.response?;
        let code = ErrorCode(response.error_code.filter(|code| *code != 0)?);
        Some(RpcError { code, text: response.error_text.unwrap_or(&[]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baidu_std::Response;
    use std::string::ToString;

    #[test]
    fn p2_an_error_keeps_code_and_text() {
        let mut answer = Packet::response(7);
        assert_eq!(answer.error(), None);
        answer.response = None;
        assert_eq!(answer.error(), None, "an answer that says nothing is a success");
        answer.response = Some(Response { error_code: Some(-7), error_text: Some(b"b\xffm") });
        assert_eq!(answer.error(), Some(RpcError { code: ErrorCode(-7), text: b"b\xffm" }));
        assert_eq!(answer.error().map(|error| error.to_string()).as_deref(), Some("error -7: b\u{fffd}m"));
        answer.response = Some(Response { error_code: Some(2003), error_text: None });
        assert_eq!(answer.error().map(|error| error.to_string()).as_deref(), Some("error 2003 ELOGOFF: "));
    }

    #[test]
    fn r1_codes_that_brpc_retries() {
        let retried = (-10..3000).map(ErrorCode).filter(|code| code.is_retried_by_brpc());
        let expected = [2, 32, 61, 104, 110, 111, 112, 1009, 1011, 1014, 1017, 2003, 2004];
        assert!(retried.eq(expected.map(ErrorCode)));
    }
}

//! Why an endpoint gave no answer that can be used: [`Fault`].

use std::error::Error;
use std::sync::Arc;

use hedge_fleet::{NamingError, NamingErrorKind};
use hedge_link::ConnectError;
use http::StatusCode;

use super::secrets::Secrets;

/// How many characters of a server's own words an error contains.
const KEPT: usize = 200;
/// How many bytes of a server's own words are searched for secrets, before the text is cut. A secret is found only if
/// it ends in this part, and servers take headers of up to 64 KiB.
const READ: usize = 128 * 1_024;

/// Why an endpoint gave no answer that can be used.
#[derive(Debug)]
pub(crate) enum Fault {
    Connect(ConnectError),
    /// The connection broke, or the answer is not HTTP.
    Broken(hyper::Error),
    /// This was not there in time.
    Late(&'static str),
    /// The first field names what was too large. The second field is the limit in bytes.
    TooLarge(&'static str, usize),
    /// The status of an answer, and what the server said.
    Status(StatusCode, String),
    /// The server has ended a watch.
    Ended,
    /// The content of an answer or of a request cannot be used.
    Content(String),
    /// The server cannot go on, and says this.
    Stopped(String),
    /// The server refuses access, and says this.
    Refused(String),
    /// The source does not know the name.
    #[cfg_attr(not(feature = "_tls"), expect(dead_code, reason = "Kubernetes needs TLS"))]
    Unknown(String),
    /// The credentials of the request would go over a connection that others can read.
    ClearText,
}

impl Fault {
    /// The fault of an answer with this status.
    pub(crate) fn status(status: StatusCode, body: &[u8]) -> Self {
        let said = serde_json::from_slice::<Said>(body).ok().and_then(|said| said.message.or(said.error));
        let start = body.get(..READ).unwrap_or(body);
        Self::Status(status, said.unwrap_or_else(|| String::from_utf8_lossy(start).into_owned()))
    }

    /// The fault of JSON that the source did not expect.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        Self::Content(error.to_string())
    }

    const fn kind(&self) -> NamingErrorKind {
        match self {
            Self::Connect(ConnectError::Timeout(_)) | Self::Late(_) => NamingErrorKind::TimedOut,
            Self::Connect(_) | Self::Broken(_) | Self::Ended | Self::Stopped(_) => NamingErrorKind::Unreachable,
            Self::Status(status, _) => match status.as_u16() {
                401 | 403 => NamingErrorKind::Denied,
                404 => NamingErrorKind::NotFound,
                408 | 504 => NamingErrorKind::TimedOut,
                500.. | 429 => NamingErrorKind::Unreachable,
                _ => NamingErrorKind::Invalid,
            },
            Self::ClearText | Self::Refused(_) => NamingErrorKind::Denied,
            Self::Unknown(_) => NamingErrorKind::NotFound,
            Self::TooLarge(..) | Self::Content(_) => NamingErrorKind::Invalid,
        }
    }

    /// The error of a source, without the secrets that were sent.
    pub(super) fn into_error(self, name: &Arc<str>, place: &Arc<str>, secrets: &Secrets) -> NamingError {
        let error = NamingError::new(Arc::clone(name), self.kind()).at(Arc::clone(place));
        let shown = |text: String| short(&secrets.without(text));
        match self {
            Self::Connect(cause) => error.because(cause),
            Self::Broken(cause) => error.because(shown(with_causes(&cause))),
            Self::Late(what) => error.because(format!("{what} did not come in time")),
            Self::TooLarge(what, limit) => error.because(format!("{what} is larger than {limit} bytes")),
            Self::Status(status, said) if said.is_empty() => error.because(format!("status {status}")),
            Self::Status(status, said) => error.because(format!("status {status}: {}", shown(said))),
            Self::Ended => error.because("the watch has ended"),
            Self::Content(what) | Self::Unknown(what) | Self::Refused(what) | Self::Stopped(what) => {
                error.because(shown(what))
            }
            Self::ClearText => {
                error.because("credentials would be sent in clear text; set tls, or allow_clear_text_credentials")
            }
        }
    }
}

/// The JSON by which a server says what is wrong.
#[derive(serde::Deserialize)]
struct Said {
    message: Option<String>,
    error: Option<String>,
}

/// The text on one line, and not too long.
fn short(text: &str) -> String {
    text.trim().chars().map(|char| if char.is_control() { ' ' } else { char }).take(KEPT).collect()
}

/// The texts of an error and of its causes.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

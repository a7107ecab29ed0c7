//! Which headers go along with each attempt, and under which names ([W3](hedge_core::rules#W3)): [`AlongHeaders`].

use std::error::Error;
use std::fmt;

use ::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, response};
use hedge_core::drive::{Along, AttemptInfo};
use hedge_core::outcome::Kind;
use hedge_core::time::Duration;
use hedge_fleet::Address;
use hedge_http::along::{self, DroppedCopy};

use super::error::BadRequest;
use super::request_error::{Shown, first_invalid};

/// What goes along with an attempt in a header of its request, and the header with which a server answers a tied
/// request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AlongField {
    /// The log id of the call, as a decimal number. Default name: `log-id`, as in brpc.
    LogId,
    /// The request id of the call. Default name: `x-request-id`.
    RequestId,
    /// The number of the attempt in its call, from 0. Default name: `x-hedge-attempt`.
    Attempt,
    /// The kind of the attempt: `first`, `retry` or `backup`. Default name: `x-hedge-attempt-kind`.
    Kind,
    /// The time from the attempt's start to the call's deadline, in milliseconds, rounded up. It is not sent if the call
    /// has no deadline. Default name: `x-hedge-remaining-ms`.
    Remaining,
    /// The key of the call, as 32 lower-case hexadecimal digits. Default name: `idempotency-key`.
    Key,
    /// The address of the server of the call's first attempt, as in `10.0.0.1:8001`. A backup has it if it starts while
    /// the first attempt runs, the call has a key, and the address is of TCP. The servers know each other by IP
    /// addresses. So they ignore it if the channel's list has a host name there. Default name: `x-hedge-first-server`.
    FirstServer,
    /// The header of an answer which says that the server has dropped this copy: status 503, and the header's value is
    /// `tied`. Default name: `x-hedge-dropped`. It counts only if the key and the first server are sent.
    Dropped,
}

impl AlongField {
    const ALL: [Self; COUNT] = [
        Self::LogId,
        Self::RequestId,
        Self::Attempt,
        Self::Kind,
        Self::Remaining,
        Self::Key,
        Self::FirstServer,
        Self::Dropped,
    ];

    const fn default_name(self) -> HeaderName {
        match self {
            Self::LogId => along::LOG_ID,
            Self::RequestId => along::REQUEST_ID,
            Self::Attempt => along::ATTEMPT,
            Self::Kind => along::ATTEMPT_KIND,
            Self::Remaining => along::REMAINING_MS,
            Self::Key => along::IDEMPOTENCY_KEY,
            Self::FirstServer => along::FIRST_SERVER,
            Self::Dropped => along::DROPPED,
        }
    }
}

const COUNT: usize = 8;

/// The names of the headers that go along with each attempt. A field without a name is not sent.
///
/// ```
/// use hedge_http_transport::{AlongField, AlongHeaders};
///
/// let headers = AlongHeaders::all().with_name(AlongField::RequestId, "x-trace")?.without(AlongField::LogId);
///
/// let error = AlongHeaders::tied().with_name(AlongField::Key, "host").unwrap_err();
/// assert_eq!(error.to_string(), "header \"host\" for Key: it belongs to the request, its body or its connection");
/// # Ok::<(), hedge_http_transport::AlongHeaderError>(())
/// ```
///
/// The request may already have one of these headers, its own or a default header. If the header is about the call (a
/// log id, a request id, a key), it stays, and all attempts carry it. If the header is about the attempt, the channel
/// replaces or removes it, since it would be wrong for this attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct AlongHeaders([Option<HeaderName>; COUNT]);

impl AlongHeaders {
    /// No header goes along.
    #[must_use]
    pub const fn none() -> Self {
        Self([const { None }; COUNT])
    }

    /// All headers, under their default names. So requests are tied, too.
    #[must_use]
    pub fn all() -> Self {
        Self(AlongField::ALL.map(|field| Some(field.default_name())))
    }

    /// Makes an option with what tied requests need, under the default names ([Y1](hedge_core::rules#Y1)): the key, the
    /// first server, the kind of the attempt, since a retry is not tied, and the answer that says that a copy was dropped.
    #[must_use]
    pub fn tied() -> Self {
        use AlongField::{Dropped, FirstServer, Key, Kind};
        let needed = |field: &AlongField| matches!(field, Kind | Key | FirstServer | Dropped);
        Self(AlongField::ALL.map(|field| Some(field).filter(needed).map(AlongField::default_name)))
    }

    /// Returns these headers with this field, under this name. Upper and lower case are the same.
    ///
    /// # Errors
    /// Returns an error if the text cannot be the name of a header, if another field has the name, or if the name
    /// belongs to the request itself: `host`, names of framing and connections such as `content-length`, and names that
    /// say how a body is read or asked for.
    pub fn with_name(mut self, field: AlongField, name: &str) -> Result<Self, AlongHeaderError> {
        let wrong = |fault| AlongHeaderError { field, name: name.into(), fault };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let at = first_invalid(name.as_bytes(), |start| HeaderName::from_bytes(start).is_ok());
            wrong(AlongHeaderFault::Malformed { at })
        })?;
        if is_taken(&parsed) {
            return Err(wrong(AlongHeaderFault::Forbidden));
        }
        let has_name = |other: &AlongField| *other != field && self.name(*other) == Some(&parsed);
        if let Some(other) = AlongField::ALL.into_iter().find(has_name) {
            return Err(wrong(AlongHeaderFault::Twice { other }));
        }
        if let Some(place) = self.0.get_mut(field as usize) {
            *place = Some(parsed);
        }
        Ok(self)
    }

    /// Returns these headers without this field.
    #[must_use]
    pub fn without(mut self, field: AlongField) -> Self {
        if let Some(place) = self.0.get_mut(field as usize) {
            *place = None;
        }
        self
    }

    /// Returns the name of a field. `None` if it is not sent.
    #[must_use]
    pub fn name(&self, field: AlongField) -> Option<&HeaderName> {
        self.0.get(field as usize)?.as_ref()
    }

    /// Whether requests are tied: the key and the first server are sent ([Y1](hedge_core::rules#Y1)).
    #[must_use]
    pub fn are_tied(&self) -> bool {
        self.name(AlongField::Key).is_some() && self.name(AlongField::FirstServer).is_some()
    }

    /// Sets the headers of an attempt.
    ///
    /// # Errors
    /// The request has too many headers.
    pub(super) fn set(
        &self,
        headers: &mut HeaderMap,
        attempt: &AttemptInfo<Address>,
        along: Along<'_, Address>,
    ) -> Result<(), BadRequest> {
        for (field, name) in AlongField::ALL.into_iter().zip(&self.0) {
            let Some(name) = name.as_ref().filter(|_| field != AlongField::Dropped) else { continue };
            let is_of_call = matches!(field, AlongField::LogId | AlongField::RequestId | AlongField::Key);
            if is_of_call && headers.contains_key(name) {
                continue;
            }
            match value(field, attempt, along) {
                Some(value) => {
                    headers.try_insert(name, value).map_err(|_| BadRequest::TooManyHeaders)?;
                }
                None if !is_of_call => {
                    headers.remove(name);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Marks an answer whose server has dropped this copy of the request ([Y1](hedge_core::rules#Y1)). The mark is only
    /// set if there are two copies: for a backup that names the first server, and for a first attempt whose backup has
    /// started.
    pub(super) fn mark_dropped(&self, head: &mut response::Parts, kind: Kind, along: Along<'_, Address>) {
        let Some(name) = self.name(AlongField::Dropped).filter(|_| self.are_tied()) else { return };
        let is_tied = match kind {
            Kind::First => along.has_backup(),
            Kind::Retry => false,
            Kind::Backup => along.first_server().is_some(),
        };
        if is_tied && along.key().is_some() && along::says_dropped(head.status, &head.headers, name) {
            DroppedCopy::mark(&mut head.extensions);
        }
    }
}

/// The value of a field for an attempt. `None` if the attempt has none.
fn value(field: AlongField, attempt: &AttemptInfo<Address>, along: Along<'_, Address>) -> Option<HeaderValue> {
    match field {
        AlongField::LogId => along.log_id().map(HeaderValue::from),
        // A `RequestId` is printable, so it is a valid value.
        AlongField::RequestId => HeaderValue::from_str(along.request_id()?).ok(),
        AlongField::Attempt => Some(attempt.attempt.index().into()),
        AlongField::Kind => Some(HeaderValue::from_static(match attempt.kind {
            Kind::First => "first",
            Kind::Retry => "retry",
            Kind::Backup => "backup",
        })),
        AlongField::Remaining => attempt.remaining().map(|left| millis_up(left).into()),
        AlongField::Key => {
            let mut value = HeaderValue::from_bytes(&along::key_text(along.key()?)).ok()?;
            // `Debug` does not show it, and HPACK does not put it into its table.
            value.set_sensitive(true);
            Some(value)
        }
        AlongField::FirstServer => along.key().and_then(|_| first_server(along.first_server()?)),
        AlongField::Dropped => None,
    }
}

/// The address at which other servers can contact a server. `None` if it is not an address of TCP.
fn first_server(address: &Address) -> Option<HeaderValue> {
    match address {
        Address::Socket(_) | Address::Name { .. } => HeaderValue::try_from(address.to_string()).ok(),
        Address::Unix(_) => None,
    }
}

/// Whole milliseconds, rounded up, so that the header is not 0 while there is time left.
fn millis_up(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whether the name belongs to the request itself, its body, or its connection.
fn is_taken(name: &HeaderName) -> bool {
    let of_body = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, EXPECT];
    let of_answer = [ACCEPT_ENCODING, RANGE];
    let of_connection = [HOST, CONNECTION, TE, UPGRADE];
    let others = ["keep-alive", "proxy-connection", "http2-settings", "grpc-timeout", "grpc-previous-rpc-attempts"];
    of_body.contains(name)
        || of_answer.contains(name)
        || of_connection.contains(name)
        || others.contains(&name.as_str())
}

impl Default for AlongHeaders {
    /// [`AlongHeaders::none`].
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for AlongHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = AlongField::ALL.into_iter().filter_map(|field| Some((field, self.name(field)?.as_str())));
        f.debug_map().entries(named).finish()
    }
}

/// A name that a field of [`AlongHeaders`] cannot have.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AlongHeaderError {
    /// The field.
    pub field: AlongField,
    /// The name, as it was given.
    pub name: Box<str>,
    /// What is wrong with it.
    pub fault: AlongHeaderFault,
}

/// What is wrong with the name of a field of [`AlongHeaders`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AlongHeaderFault {
    /// It is empty, or holds a byte that the name of a header cannot hold.
    Malformed {
        /// The position of that byte, counted from 0. `None` if the name is empty.
        at: Option<usize>,
    },
    /// It belongs to the request itself, its body, or its connection.
    Forbidden,
    /// Another field has it.
    Twice {
        /// The other field.
        other: AlongField,
    },
}

impl fmt::Display for AlongHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {} for {:?}: ", Shown(&self.name), self.field)?;
        match self.fault {
            AlongHeaderFault::Malformed { at: None } => f.write_str("the name is empty"),
            AlongHeaderFault::Malformed { at: Some(at) } => write!(f, "byte {at} is not allowed in a header name"),
            AlongHeaderFault::Forbidden => f.write_str("it belongs to the request, its body or its connection"),
            AlongHeaderFault::Twice { other } => write!(f, "{other:?} has this name"),
        }
    }
}

impl Error for AlongHeaderError {}

#[cfg(test)]
mod tests;

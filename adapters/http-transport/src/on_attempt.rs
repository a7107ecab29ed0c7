//! The program's own part of an attempt's head: [`OnAttempt`].

use std::fmt;
use std::sync::Arc;

use ::http::Request;
use ::http::header::HOST;
use ::http::request::Parts;
use hedge_core::drive::AttemptInfo;
use hedge_fleet::Address;

use super::error::BadRequest;
use super::headers;

/// What the program does to the head of each attempt.
#[derive(Clone)]
pub(super) struct OnAttempt(Arc<Change>);

type Change = dyn Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync;

impl OnAttempt {
    pub(super) fn new(on_attempt: impl Fn(&mut Parts, &AttemptInfo<Address>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(on_attempt))
    }

    /// The same head with the headers that the program wants. What else it changed is as it was: the method and the
    /// target are those that the call was judged by ([L15](hedge_core::rules#L15)).
    ///
    /// # Errors
    /// Headers that no request may have.
    pub(super) fn applied(&self, head: Request<()>, attempt: &AttemptInfo<Address>) -> Result<Request<()>, BadRequest> {
        let (mut parts, ()) = head.into_parts();
        let (method, uri, version) = (parts.method.clone(), parts.uri.clone(), parts.version);
        (self.0)(&mut parts, attempt);
        headers::check(&parts.headers)?;
        if !parts.headers.contains_key(HOST) {
            return Err(BadRequest::Header("host"));
        }
        let mut head = Request::new(());
        (*head.method_mut(), *head.uri_mut(), *head.version_mut()) = (method, uri, version);
        *head.headers_mut() = parts.headers;
        Ok(head)
    }
}

impl fmt::Debug for OnAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnAttempt").finish_non_exhaustive()
    }
}

//! What the sources over HTTP have in common: [`Common`].

use std::sync::Arc;

use hedge_fleet::{BoxNaming, NamingError, NamingErrorKind};
use hedge_link::Runtime;

use crate::client::{Client, HttpOptions, Place};
use crate::pace::Pace;
use crate::session::{Resumed, Session};

/// The runtime and the options that every source over HTTP has.
#[derive(Clone)]
pub(crate) struct Common<R> {
    pub(crate) runtime: R,
    pub(crate) http: HttpOptions,
    pub(crate) seed: Option<u64>,
}

impl<R: Runtime> Common<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self { runtime, http: HttpOptions::new(), seed: None }
    }

    /// Opens a source. `name` is its name in errors. `session` makes the state of an open source. It is called again
    /// when the source moves to another runtime.
    pub(crate) fn open<S: Session>(
        &self,
        name: Arc<str>,
        places: Arc<[Place]>,
        session: impl Fn(Client<R>, Pace) -> S + Send + 'static,
    ) -> BoxNaming {
        let common = self.clone();
        let make = move || {
            let Self { runtime, http, seed } = common.clone();
            session(Client::new(runtime, http, Arc::clone(&name), Arc::clone(&places)), Pace::new(seed))
        };
        BoxNaming::new(Resumed::new(self.runtime.clone(), make))
    }
}

/// The error of a URL that is not valid, or of options that cannot be used. The URL is not shown, since it could hold a
/// password.
pub(crate) fn invalid(scheme: &str) -> impl Fn(String) -> NamingError {
    let name = format!("{scheme}:// URL");
    move |why| NamingError::new(&*name, NamingErrorKind::Invalid).because(why)
}

/// The setters that every source over HTTP has. `$http` is the documentation of `http`.
macro_rules! common_setters {
    ($http:literal, $random:literal) => {
        #[doc = $http]
        #[must_use]
        pub fn http(mut self, options: HttpOptions) -> Self {
            self.common.http = options;
            self
        }

        #[doc = concat!("Determines the random ", $random, ". By default they differ from source to source.")]
        #[must_use]
        pub const fn seed(mut self, seed: u64) -> Self {
            self.common.seed = Some(seed);
            self
        }
    };
}
pub(crate) use common_setters;

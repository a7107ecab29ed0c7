//! Makes a channel for gRPC: [`GrpcBuilder`].

use std::fmt;
#[cfg(feature = "serde")]
use std::sync::Arc;

use hedge_fleet::Protocol;
use hedge_http::{CodeError, RetryCodes};
use hedge_link::Runtime;

use super::GrpcChannel;
#[cfg(feature = "serde")]
use super::methods::{Methods, ServiceConfigError};
use crate::build_error::BuildError;
use crate::builder::Builder;
use crate::http::Http;

impl<R: Runtime> Builder<R, Http<R>> {
    /// Makes a builder for a gRPC channel, with the settings of this builder. The protocol of the channel is HTTP/2. A
    /// [retry policy](Self::retry_policy) that was set before is replaced, since gRPC codes decide what is retried.
    pub fn grpc(mut self) -> GrpcBuilder<R> {
        self.protocol = Some(Protocol::H2.name().into());
        GrpcBuilder {
            builder: self,
            codes: RetryCodes::NONE,
            #[cfg(feature = "serde")]
            methods: None,
        }
    }
}

/// Makes a [`GrpcChannel`]: see [`Builder::grpc`].
#[must_use = "a builder does nothing until it is built"]
pub struct GrpcBuilder<R: Runtime> {
    builder: Builder<R, Http<R>>,
    codes: RetryCodes,
    #[cfg(feature = "serde")]
    methods: Option<Arc<Methods>>,
}

impl<R: Runtime> GrpcBuilder<R> {
    /// Sets the gRPC codes that are retried ([`RetryCodes`]). They apply to methods that a service config does not
    /// name. Default: no code is retried.
    ///
    /// Only calls that may be sent twice are retried. Without a service config, a gRPC call may be sent twice only if
    /// the channel's [`idempotency`](Builder::idempotency) or the call's own option says so.
    ///
    /// # Errors
    /// Returns an error if a code is not in \[1, 16\]. For example, `OK` cannot be retried.
    pub fn retry_codes<C: Into<i32>>(mut self, codes: impl IntoIterator<Item = C>) -> Result<Self, CodeError> {
        self.codes = RetryCodes::new(codes)?;
        Ok(self)
    }

    /// Reads a service config from JSON. The module [`service_config`](hedge_core::config::service_config) describes
    /// its form. `methodConfig` may have at most 1,024 entries, with at most 256 names each.
    ///
    /// Each call gets the timeout, and the `retryPolicy` or the `hedgingPolicy`, of its method. A policy means that the
    /// method may be sent twice. If a method is named without a policy, its calls are sent only once. If a method is
    /// not named, the options of the channel apply. `retryThrottling` replaces the token bucket in the channel's
    /// [`limits`](Builder::limits). The other limits stay.
    ///
    /// # Errors
    /// See [`ServiceConfigError`].
    #[cfg(feature = "serde")]
    pub fn service_config(mut self, json: &str) -> Result<Self, ServiceConfigError> {
        let methods = Methods::parse(json)?;
        if let Some(throttling) = methods.throttling() {
            self.builder.setup.limits.tokens = Some(throttling);
        }
        self.methods = Some(Arc::new(methods));
        Ok(self)
    }

    /// Makes the channel. The channel opens no connection yet.
    ///
    /// # Errors
    /// Returns an error for the first setting that is wrong.
    pub fn build(self) -> Result<GrpcChannel<R>, BuildError> {
        let channel = GrpcChannel::new(self.builder.retry_policy(self.codes).build()?);
        #[cfg(feature = "serde")]
        let channel = GrpcChannel { methods: self.methods, ..channel };
        Ok(channel)
    }
}

impl<R: Runtime> fmt::Debug for GrpcBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcBuilder")
            .field("builder", &self.builder)
            .field("codes", &self.codes)
            .finish_non_exhaustive()
    }
}

//! HTTP/2 ([C1](hedge_core::rules#C1), [C2](hedge_core::rules#C2), [C3](hedge_core::rules#C3)), with the crate h2.
//!
//! The client of hyper also uses h2, but it cannot send a ping on demand, and it runs two tasks for each request. So
//! this module does not use it: the future of an attempt uses its h2 stream directly.

mod cancel;
mod connection;
mod fault;
mod head;
mod io;
mod ping;
mod pool;
mod resets;
mod sending;
mod state;
mod stream;
mod upload;

use ::http::Request;
use hedge_link::{Connected, Runtime};

use crate::error::HttpError;
use crate::limits::HeadLimits;
use crate::place::Place;
use connection::Http2Connection;

pub(crate) use cancel::reset;
pub use ping::PingOptions;
pub(crate) use pool::Http2Pool;
pub(crate) use stream::{Http2Body, Http2Stream};
/// Sends a request on a new connection. Returns whether the status of the answer is 2xx.
pub(crate) async fn ask<R: Runtime>(
    runtime: &R,
    connected: Connected<R::Io>,
    limits: HeadLimits,
    request: Request<()>,
    place: &Place,
) -> Result<bool, HttpError> {
    let opened = Http2Connection::open(runtime, connected, limits, PingOptions::DEFAULT, None, None).await;
    let connection = opened.map_err(|error| HttpError::Unsent(error.into()))?;
    let mut sender = connection.sender().map_err(|error| HttpError::Unsent(error.into()))?;
    let sent = sender.send_request(head::http2(request, place)?, true);
    let (answer, _stream) = sent.map_err(|error| HttpError::Unsent(error.into()))?;
    let response = answer.await.map_err(|error| HttpError::Broken(error.into()))?;
    Ok(response.status().is_success())
}

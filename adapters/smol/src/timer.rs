//! Waiting on smol: [`Sleep`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use smol::Timer;

/// Waits until an instant.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Sleep {
    pub(crate) fn new(at: Option<Instant>) -> Self {
        Self(at.map_or_else(Timer::never, Timer::at))
    }

    pub(crate) fn reset(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.0.set_at(at),
            None => self.0 = Timer::never(),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

//! Connects to several addresses and uses the first one that works ([C5](hedge_core::rules#C5), RFC 8305): [`race`].

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hedge_core::drive::Timer;
use hedge_core::time::Instant;

use crate::connect_error::is_local;
use crate::endpoint::Endpoint;

/// The time after which the next address is tried too, if there is no connection yet (RFC 8305, 5).
const DELAY: Duration = Duration::from_millis(250);

/// The maximum number of addresses that are read from an answer of the resolver.
const MOST_READ: usize = 256;

/// The maximum number of addresses that are tried.
const MOST_TRIED: usize = 16;

/// Returns the addresses in the order in which they are tried. IPv4 and IPv6 addresses alternate, beginning with the
/// family of the first address (RFC 8305, 4). If there is a local address, the addresses of the other family are left
/// out, since a socket with this local address cannot reach them.
pub(crate) fn order(addresses: &[SocketAddr], local: Option<IpAddr>) -> Vec<SocketAddr> {
    let read = addresses.get(..MOST_READ).unwrap_or(addresses);
    let usable = || read.iter().filter(|address| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4()));
    let Some(first) = usable().next() else { return Vec::new() };
    let mut preferred = usable().filter(|address| address.is_ipv4() == first.is_ipv4());
    let mut other = usable().filter(|address| address.is_ipv4() != first.is_ipv4());
    let mut order = Vec::with_capacity(read.len().min(MOST_TRIED));
    loop {
        let turn = [preferred.next(), other.next()];
        if turn == [None, None] {
            return order;
        }
        for address in turn.into_iter().flatten() {
            if order.len() == MOST_TRIED {
                return order;
            }
            if !order.contains(address) {
                order.push(*address);
            }
        }
    }
}

/// Connects to several addresses, and returns the first connection that is made, with its address. The next address is
/// tried 250 ms after the previous one was tried, or as soon as an address fails. When one connection is made, the
/// other attempts are dropped.
///
/// # Errors
/// If all addresses fail, returns the last failure that is not local, that is, not caused by this client. If all
/// failures are local, returns the first one. If there is no address, returns `None`.
pub(crate) async fn race<T, F, O>(
    timer: &T,
    addresses: Vec<SocketAddr>,
    dial: impl Fn(Endpoint) -> F,
) -> Result<(Endpoint, O), Option<(Endpoint, io::Error)>>
where
    T: Timer,
    F: Future<Output = io::Result<O>>,
{
    let mut race = Race {
        timer,
        dial,
        waiting: addresses.into_iter(),
        running: Vec::new(),
        failure: None,
        next_at: timer.now(),
        sleep: None,
    };
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<'a, T: Timer, D, F> {
    timer: &'a T,
    dial: D,
    /// The addresses that have not been tried yet.
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<(Endpoint, Pin<Box<F>>)>,
    failure: Option<(Endpoint, io::Error)>,
    /// The time at which the next address is tried.
    next_at: Instant,
    sleep: Option<Pin<Box<T::Sleep>>>,
}

type Outcome<O> = Result<(Endpoint, O), Option<(Endpoint, io::Error)>>;

impl<T, D, F, O> Race<'_, T, D, F>
where
    T: Timer,
    D: Fn(Endpoint) -> F,
    F: Future<Output = io::Result<O>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<O>> {
        loop {
            if let Some(won) = self.poll_running(cx) {
                return Poll::Ready(Ok(won));
            }
            if self.timer.now() >= self.next_at && self.start_next() {
                continue;
            }
            if self.waiting.as_slice().is_empty() {
                return if self.running.is_empty() { Poll::Ready(Err(self.failure.take())) } else { Poll::Pending };
            }
            if self.poll_sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Polls every connection that is being made. Returns the first connection that is ready.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<(Endpoint, O)> {
        let mut won = None;
        let (failure, next_at, now) = (&mut self.failure, &mut self.next_at, self.timer.now());
        self.running.retain_mut(|(to, dial)| {
            if won.is_some() {
                return true;
            }
            match dial.as_mut().poll(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(made)) => won = Some((to.clone(), made)),
                Poll::Ready(Err(error)) => {
                    *next_at = now;
                    if failure.is_none() || !is_local(to, &error) {
                        *failure = Some((to.clone(), error));
                    }
                }
            }
            false
        });
        won
    }

    /// Tries the next address. Returns false if no address is left.
    fn start_next(&mut self) -> bool {
        let Some(address) = self.waiting.next() else { return false };
        let to = Endpoint::Tcp(address);
        self.running.push((to.clone(), Box::pin((self.dial)(to))));
        self.next_at = self.timer.now() + DELAY;
        true
    }

    /// Becomes ready at the time at which the next address is tried. A timer may fire early.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                self.timer.reset(sleep.as_mut(), self.next_at);
                sleep
            }
            sleep => sleep.insert(Box::pin(self.timer.sleep_until(self.next_at))),
        };
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;

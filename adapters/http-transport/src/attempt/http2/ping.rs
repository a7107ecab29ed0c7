//! Pings on an HTTP/2 connection: their options, [`PingOptions`], and the times at which they are sent, [`Pings`].

use std::time::Duration;

use hedge_core::time::Instant;

/// The options of pings on HTTP/2 connections. A ping finds out whether a connection is dead, as in gRPC's keepalive.
/// If no byte is received within the [timeout](Self::timeout) after a ping, the connection is closed, and its requests
/// fail as `Broken`.
///
/// Without an interval, a ping is sent only after the deadline of a call has passed on a connection that has received
/// no byte since the call's request was sent ([C3](hedge_core::rules#C3)).
///
/// ```
/// use hedge_http_transport::PingOptions;
/// use std::time::Duration;
///
/// let options = PingOptions { interval: Some(Duration::from_secs(30)), ..PingOptions::DEFAULT };
/// assert_eq!(options.timeout, Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PingOptions {
    /// If a connection has requests in flight and receives no byte for this long, a ping is sent. `None` means that
    /// there is no interval. An idle connection is not pinged, since it is closed soon. Many gRPC servers close a
    /// connection that is pinged more than once in 5 minutes.
    pub interval: Option<Duration>,
    /// How long the server may take to answer a ping. Any received byte counts as an answer.
    pub timeout: Duration,
}

impl PingOptions {
    /// The default options: no interval, and a timeout of 2 s.
    pub const DEFAULT: Self = Self { interval: None, timeout: Duration::from_secs(2) };
}

impl Default for PingOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The shortest time between two pings that are sent because a connection is suspected to be dead.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides when a connection is pinged. The task of the connection sends the pings and waits.
#[derive(Debug)]
pub(super) struct Pings {
    options: PingOptions,
    phase: Phase,
    /// The time at which the last ping was sent.
    last: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    /// Requests are in flight. If no byte has come by `until`, a ping must be sent.
    Watching {
        until: Instant,
        heard: u64,
    },
    /// A ping was sent. If no byte has come by `until`, the connection is dead.
    Sent {
        until: Instant,
        heard: u64,
    },
}

/// The next action of the connection's task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The connection is dead and must be closed.
    Close,
}

impl Pings {
    pub(super) const fn new(options: PingOptions) -> Self {
        Self { options, phase: Phase::Idle, last: None }
    }

    /// Returns the time at which [`look`](Self::look) must be called. Returns `None` if there is no such time.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Watching { until, .. } | Phase::Sent { until, .. } => Some(until),
        }
    }

    /// Returns whether an interval must begin, since there are requests in flight.
    pub(super) fn must_watch(&self, has_requests: bool) -> bool {
        has_requests && self.phase == Phase::Idle && self.options.interval.is_some()
    }

    /// Begins an interval. `heard` is the current value of `State::heard`.
    pub(super) fn watch(&mut self, now: Instant, heard: u64) {
        if let Some(interval) = self.options.interval {
            self.phase = Phase::Watching { until: now + interval, heard };
        }
    }

    /// Returns whether a connection that is suspected to be dead may be pinged now.
    pub(super) fn may_ping(&self, now: Instant) -> bool {
        !matches!(self.phase, Phase::Sent { .. }) && self.last.is_none_or(|last| now >= last + PAUSE)
    }

    /// Records that a ping has been sent.
    pub(super) fn sent(&mut self, now: Instant, heard: u64) {
        self.last = Some(now);
        self.phase = Phase::Sent { until: now + self.options.timeout, heard };
    }

    /// Returns the action that is due now. Call this when the time [`until`](Self::until) has come, or when bytes have
    /// come.
    pub(super) fn look(&mut self, now: Instant, heard: u64, has_requests: bool) -> Due {
        match self.phase {
            Phase::Sent { heard: before, .. } if heard != before => self.rest(),
            Phase::Sent { until, .. } if now >= until => Due::Close,
            Phase::Watching { until, .. } if now >= until && !has_requests => self.rest(),
            Phase::Watching { until, heard: before } if now >= until && heard != before => {
                self.watch(now, heard);
                Due::Nothing
            }
            Phase::Watching { until, .. } if now >= until => Due::Ping,
            _ => Due::Nothing,
        }
    }

    fn rest(&mut self) -> Due {
        self.phase = Phase::Idle;
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn c3_a_suspect_connection_is_closed_if_a_ping_brings_nothing() {
        let mut pings = Pings::new(PingOptions::DEFAULT);
        assert_eq!((pings.until(), pings.must_watch(true)), (None, false));
        assert!(pings.may_ping(at(0)));
        pings.sent(at(0), 5);
        assert!(!pings.may_ping(at(1_999)), "one is on its way");
        assert_eq!(pings.until(), Some(at(2_000)));
        assert_eq!(pings.look(at(1_999), 5, true), Due::Nothing);
        assert_eq!(pings.look(at(2_000), 5, true), Due::Close);
    }

    #[test]
    fn c3_any_byte_is_a_sign_of_life() {
        let mut pings = Pings::new(PingOptions::DEFAULT);
        pings.sent(at(0), 5);
        assert_eq!(pings.look(at(100), 6, true), Due::Nothing);
        assert_eq!(pings.until(), None);
        assert!(!pings.may_ping(at(999)), "too soon");
        assert!(pings.may_ping(at(1_000)));
    }

    #[test]
    fn an_interval_runs_only_while_requests_are_in_flight_and_nothing_comes() {
        let mut pings = Pings::new(PingOptions { interval: Some(Duration::from_secs(10)), ..PingOptions::DEFAULT });
        assert!(!pings.must_watch(false) && pings.must_watch(true));
        pings.watch(at(0), 1);
        assert!(!pings.must_watch(true), "it runs");
        assert_eq!(pings.look(at(9_999), 1, true), Due::Nothing);
        assert_eq!(pings.look(at(10_000), 2, true), Due::Nothing, "bytes came");
        assert_eq!(pings.until(), Some(at(20_000)));
        assert_eq!(pings.look(at(20_000), 2, true), Due::Ping);
        pings.sent(at(20_000), 2);
        assert_eq!(pings.look(at(20_001), 3, true), Due::Nothing);
        pings.watch(at(30_000), 3);
        assert_eq!(pings.look(at(40_000), 3, false), Due::Nothing, "it is idle");
        assert_eq!(pings.until(), None);
    }
}

//! A channel to three servers on the far stack.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::rc::Rc;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use hedge_core::balance::RoundRobin;
use hedge_core::call::Report;
use hedge_core::health::Health;
use hedge_core::limit::Limits;
use hedge_core::outcome::{Attempt, Code};
use hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_core::time::Duration;
use hedge_embassy::{CallResult, Channel, Choice, Resources, Runner, SocketBuffers, Sockets};
use hedge_embassy_tests::{Network, Server, Stall, Wire, World};

/// Two calls of two attempts each, and a check.
pub(crate) const SOCKETS: usize = 5;
pub(crate) const SLOTS: usize = 4;
pub(crate) const BYTES: usize = 512;

pub(crate) type Stack = Sockets<'static, SOCKETS>;
pub(crate) type Mutex = NoopRawMutex;
pub(crate) type Memory = Resources<Choice<RoundRobin, Limits, Mutex>, 8, SLOTS, BYTES>;
pub(crate) type Client = Channel<'static, Stack, Memory>;
pub(crate) type Checks = Runner<'static, Stack, Memory>;
pub(crate) type Result = CallResult<'static, Memory>;

pub(crate) const WIRE: Wire = Wire { delay_ms: 1, lost_per_mille: 0, seed: 7 };

pub(crate) struct Setup {
    pub(crate) world: World,
    pub(crate) channel: Client,
    pub(crate) checks: Checks,
    pub(crate) sockets: &'static Stack,
    pub(crate) servers: Vec<Server>,
    pub(crate) network: Network,
}

impl Setup {
    pub(crate) fn new(options: ChannelOptions) -> Self {
        Self::over(options, WIRE, Stall::NONE)
    }

    pub(crate) fn over(options: ChannelOptions, wire: Wire, stall: Stall) -> Self {
        let world = World::new();
        let network = Network::new(&world, wire);
        let buffers: &'static mut SocketBuffers<SOCKETS, 512, 512> = Box::leak(Box::default());
        let sockets: &'static _ = Box::leak(Box::new(Sockets::new(network.near, buffers)));
        let memory: &'static mut Memory = Box::leak(Box::default());
        let balancer = RoundRobin::starting_at(0);
        let (channel, checks) = Client::new(sockets, memory, options, balancer, Limits::default(), Health::none(), 7);
        let servers: Vec<_> = (0..3).map(|server| Server::new(&world, network.far, 8001 + server, stall, 4)).collect();
        let setup = Self { world, channel, checks, sockets, servers, network };
        setup.channel.set_servers(setup.servers.iter().map(|server| (server.address, ""))).unwrap();
        setup
    }

    /// How many buffers and how many sockets are free.
    pub(crate) fn free(&self) -> (usize, usize) {
        (self.channel.free_buffers(), self.sockets.free())
    }

    /// A signal by which another task says that it is done.
    pub(crate) fn signal<V>() -> Rc<Signal<NoopRawMutex, V>> {
        Rc::new(Signal::new())
    }
}

/// All buffers and all sockets.
pub(crate) const ALL_FREE: (usize, usize) = (SLOTS, SOCKETS);

/// brpc's options, with a backup after so many milliseconds.
pub(crate) fn hedged(millis: u64) -> ChannelOptions {
    ChannelOptions { backup: BackupDelay::after(Duration::from_millis(millis)), ..ChannelOptions::brpc() }
}

pub(crate) fn codes(report: &Report) -> Vec<Code> {
    report.attempts().iter().map(Attempt::code).collect()
}

pub(crate) fn report(result: &Result) -> &Report {
    match result {
        Ok(reply) => reply.report(),
        Err(error) => error.report().unwrap(),
    }
}

/// One line of text for a call: everything that was decided in it.
pub(crate) fn line_of(report: &Report) -> String {
    let started = report.started().as_micros();
    let mut line = format!("{started} +{} {:?} {:?}:", report.elapsed_micros(), report.end(), report.not_hedged());
    for attempt in report.attempts() {
        let (server, kind, state) = (attempt.server(), attempt.kind(), attempt.state());
        let (from, to) = (attempt.started_micros(), attempt.ended_micros());
        line += &format!(" {server} {kind:?} {from}..{to:?} {state:?} {};", attempt.code());
    }
    line
}

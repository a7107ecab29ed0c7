//! Makes hedged GETs with `p2c` and a ratio limit. It checks that every call ends once, that backups lower the p99, that the
//! limit holds, that no buffer and no socket leaks, and that faulty servers fail no call. The exit code is the verdict.

#![no_std]
#![no_main]

use core::cell::Cell;
use core::net::SocketAddr;

use embassy_executor::Spawner;
use embassy_futures::join::join_array;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_time::with_timeout;
use embedded_nal_async::TcpConnect;
use hedge_embassy::hedge_core::balance::p2c::{P2c, P2cOptions};
use hedge_embassy::hedge_core::call::Report;
use hedge_embassy::hedge_core::drive::NoCancel;
use hedge_embassy::hedge_core::health::{Health, NoBreaker};
use hedge_embassy::hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_embassy::hedge_core::outcome::{End, Judgement, NotHedged, State, Verdict};
use hedge_embassy::hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, RetryPolicy};
use hedge_embassy::hedge_core::time::Duration;
use hedge_embassy::{CallError, Channel, Choice, HttpRetryPolicy, Request, Resources, Runner, SocketBuffers, Sockets};
use hedge_network_firmware::arguments::Arguments;
use hedge_network_firmware::board::lan9118::Lan9118;
use hedge_network_firmware::board::{self, executor, semihost, stack};
use hedge_network_firmware::client::{self, RESPONSE, TIMEOUT};
use hedge_network_firmware::load::{self, Run};
use hedge_network_firmware::network::{self, RECEIVED, SENT, SOCKETS};
// It provides 64-bit atomics.
use portable_atomic as _;
use static_cell::ConstStaticCell;

/// How many calls a run makes.
const CALLS: usize = 1_000;
/// A server that does not stall answers earlier, also on a busy host. A stall takes 20 ms.
const BACKUP: BackupDelay = BackupDelay::after(Duration::from_millis(8));
/// The limit: one backup for ten calls, and a burst before any has ended.
const LIMIT: RatioOptions = RatioOptions::DEFAULT;
/// How many servers the list can have, the three faulty ones included.
const SERVERS: usize = 8;

type Memory = Resources<Choice<P2c, RatioLimit, CriticalSectionRawMutex, NoBreaker, ()>, SERVERS, SOCKETS, RESPONSE>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Ok(controller) = board::start() else { semihost::exit(false) };
    executor::run(|spawner| match check(spawner, controller) {
        Ok(task) => spawner.spawn(task),
        Err(_) => semihost::exit(false),
    })
}

#[embassy_executor::task]
async fn check(spawner: Spawner, controller: Lan9118) {
    static BUFFERS: ConstStaticCell<SocketBuffers<SOCKETS, SENT, RECEIVED>> =
        ConstStaticCell::new(SocketBuffers::new());
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    static RUN: ConstStaticCell<Run<CALLS>> = ConstStaticCell::new(Run::new());
    let arguments = Arguments::read();
    let network = network::start(spawner, controller, arguments.seed).await;
    let sockets = Sockets::new(network, BUFFERS.take());
    let (memory, run) = (MEMORY.take(), RUN.take());
    let mut check = Check { arguments: &arguments, sockets: &sockets, memory, run, failures: 0 };

    let without = check.calls("without", "/without", BackupDelay::OFF).await;
    let with = check.calls("after 8 ms", "/after-8-ms", BACKUP).await;
    check.expect(with.p99 < without.p99, "the p99 with backups is below the p99 without");
    let often = check.calls("at once", "/at-once", BackupDelay::after(Duration::ZERO)).await;
    check.expect(often.refused > CALLS / 2, "it asked for more backups than the limit allows");
    check.faults().await;
    check.sockets().await;
    defmt::info!("stack {=usize} bytes", stack::high_water());
    semihost::exit(check.failures == 0);
}

/// The checks of this firmware.
struct Check<'a> {
    arguments: &'a Arguments,
    sockets: &'a Sockets<'static, SOCKETS>,
    memory: &'a mut Memory,
    run: &'a mut Run<CALLS>,
    failures: usize,
}

/// Counts of a run, besides how long calls took.
#[derive(Default, Clone, Copy)]
struct Tally {
    /// Calls that have ended.
    ended: usize,
    /// Calls whose report contradicts itself.
    odd: usize,
    attempts: usize,
    backups: usize,
    /// Calls whose backup the limit refused.
    refused: usize,
    /// Calls without an answer, except those whose backup was refused and which ended by their deadline.
    lost: usize,
    p99: u32,
}

impl Check<'_> {
    /// Makes calls to the servers that answer.
    async fn calls(&mut self, name: &str, target: &str, backup: BackupDelay) -> Tally {
        let options = ChannelOptions { backup, ..ChannelOptions::brpc() };
        let (channel, _) = channel(self.sockets, self.memory, options, self.arguments.seed);
        for server in self.arguments.servers() {
            let _ = channel.insert(SocketAddr::V4(*server), ());
        }
        let tally = calls(&channel, &mut *self.run, CALLS, target).await;
        let (free, failed) = (channel.free_buffers(), self.run.failed);
        self.run.print(name);
        defmt::info!(
            "    {=usize} attempts, {=usize} backups, {=usize} refused",
            tally.attempts,
            tally.backups,
            tally.refused
        );
        self.expect(tally.ended == CALLS && failed == 0, "every call was answered");
        self.expect(tally.odd == 0, "every call ended once");
        self.expect(free == SOCKETS && self.sockets.free() == SOCKETS, "every buffer and every socket is free");
        let limit = CALLS / 10 + LIMIT.burst.get() as usize;
        self.expect(tally.backups <= limit, "the limit held");
        // An attempt that was dropped before its request was sent did not arrive.
        let arrived = self.arrived(target).await;
        self.expect((CALLS..=tally.attempts).contains(&arrived), "the servers saw as many requests");
        tally
    }

    /// Makes calls to all servers: also to the one that refuses, the one that never answers and the one that answers
    /// nonsense.
    async fn faults(&mut self) {
        let options = ChannelOptions { backup: BACKUP, ..ChannelOptions::brpc() };
        let (channel, mut runner) = channel(self.sockets, self.memory, options, self.arguments.seed);
        let faulty = [self.arguments.closed, self.arguments.silent, self.arguments.garbage];
        for server in faulty.into_iter().flatten().chain(self.arguments.servers().iter().copied()) {
            let _ = channel.insert(SocketAddr::V4(server), ());
        }
        let tally = match select(runner.run(), calls(&channel, &mut *self.run, CALLS, "/faults")).await {
            Either::First(never) => match never {},
            Either::Second(tally) => tally,
        };
        let free = channel.free_buffers();
        self.run.print("faults");
        defmt::info!(
            "    {=usize} attempts, {=usize} backups, {=usize} refused",
            tally.attempts,
            tally.backups,
            tally.refused
        );
        self.expect(tally.ended == CALLS && tally.odd == 0, "with faulty servers, every call ended once");
        self.expect(
            tally.lost == 0,
            "and was answered, unless it waited for the silent server and the limit refused a backup",
        );
        self.expect(free == SOCKETS && self.sockets.free() == SOCKETS, "and every buffer and every socket is free");
    }

    /// Checks that all sockets can be connected at once, so none is lost.
    async fn sockets(&mut self) {
        let Some(server) = self.arguments.servers().first() else { return };
        let connect = || with_timeout(TIMEOUT, self.sockets.connect(SocketAddr::V4(*server)));
        let connected = join_array([(); SOCKETS].map(|()| connect())).await;
        let all = connected.iter().all(|result| matches!(result, Ok(Ok(_))));
        drop(connected);
        self.expect(all, "every socket connects");
    }

    /// Asks a server how many requests for `target` all servers have had.
    async fn arrived(&self, target: &str) -> usize {
        let Some(server) = self.arguments.servers().first() else { return 0 };
        let mut path = heapless::String::<32>::new();
        let _ = path.push_str("/count").and_then(|()| path.push_str(target));
        let ask = async {
            let mut connection = self.sockets.connect(SocketAddr::V4(*server)).await.ok()?;
            let number = |_, body: &[u8]| str::from_utf8(body).ok()?.parse().ok();
            client::get(&mut connection, &path, &mut [0; RESPONSE], number).await.ok()?
        };
        with_timeout(TIMEOUT, ask).await.ok().flatten().unwrap_or(0)
    }

    fn expect(&mut self, holds: bool, what: &str) {
        if holds {
            defmt::info!("    ok {=str}", what);
        } else {
            defmt::error!("    FAIL {=str}", what);
            self.failures += 1;
        }
    }
}

type Client<'r> = Channel<'r, Sockets<'static, SOCKETS>, Memory>;

fn channel<'r>(
    sockets: &'r Sockets<'static, SOCKETS>,
    memory: &'r mut Memory,
    options: ChannelOptions,
    seed: u64,
) -> (Client<'r>, Runner<'r, Sockets<'static, SOCKETS>, Memory>) {
    let (balancer, limit) = (P2c::new(P2cOptions::default()), RatioLimit::new(LIMIT));
    Channel::new(sockets, memory, options, balancer, limit, Health::none(), seed)
}

/// Retries every failure at another server. By default nonsense is not retried, but a GET may be sent twice.
struct Again;

impl<R, E> RetryPolicy<R, E> for Again
where
    HttpRetryPolicy: RetryPolicy<R, E>,
{
    fn judge(&self, result: Result<&R, &E>) -> Judgement {
        let judgement = HttpRetryPolicy.judge(result);
        match judgement.verdict {
            Verdict::Wait => Judgement { verdict: Verdict::Retry, ..judgement },
            _ => judgement,
        }
    }
}

/// Makes `count` calls, and counts their results.
async fn calls(channel: &Client<'_>, run: &mut Run<CALLS>, count: usize, target: &str) -> Tally {
    let tally = Cell::new(Tally::default());
    load::run(run, count, &mut [(), ()], async |(), _| {
        let request = Request::get(target);
        let result = channel.call_judged(&request, &CallOptions::new(), &Again, NoCancel).await;
        let answered = result.as_ref().is_ok_and(|reply| reply.status() == 200);
        let report = result.as_ref().map_or_else(CallError::report, |reply| Some(reply.report()));
        tally.update(|tally| tally.with(report, answered));
        answered
    })
    .await;
    Tally { p99: run.answered.at(990), ..tally.get() }
}

impl Tally {
    /// The counts with one more call.
    fn with(mut self, report: Option<&Report>, answered: bool) -> Self {
        let Some(report) = report else { return self };
        let won =
            report.attempts().iter().filter(|attempt| attempt.state() == State::Finished(Verdict::Accept)).count();
        let refused = matches!(report.not_hedged(), Some(NotHedged::Denied(_)));
        let whole = report.end().is_some()
            && report.attempts().iter().all(|attempt| !attempt.in_flight())
            && won == usize::from(answered)
            && report.winner().is_some() == answered;
        self.ended += 1;
        self.odd += usize::from(!whole);
        self.attempts += report.attempts().len();
        self.backups += report.backups();
        self.refused += usize::from(refused);
        self.lost += usize::from(!answered && (!refused || report.end() != Some(End::Deadline)));
        self
    }
}

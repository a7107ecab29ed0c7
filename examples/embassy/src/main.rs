//! Hedged calls under embassy's executor, as a firmware makes them. Only `world` would be another on a board: there the
//! stack is over its network's driver, and time is its timer's. `cargo run --release` in this directory.

mod world;

use std::error::Error;

use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use hedge_core::balance::RoundRobin;
use hedge_core::call::Report;
use hedge_core::health::Health;
use hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions};
use hedge_core::time::Duration;
use hedge_embassy::{Channel, Choice, Request, Resources, Runner, SocketBuffers, Sockets};
use static_cell::{ConstStaticCell, StaticCell};

/// Sockets: two attempts of one call, and one for checks.
const SOCKETS: usize = 3;

// All types are named here, once: tasks of embassy's executor are not generic.
type Net = Sockets<'static, SOCKETS>;
/// Everything runs on one executor, so nothing has to be guarded: at most 4 servers, 2 attempts at once, and 512 bytes for a
/// response.
type Memory = Resources<Choice<RoundRobin, RatioLimit, NoopRawMutex>, 4, 2, 512>;
type Line = Channel<'static, Net, Memory>;

static BUFFERS: ConstStaticCell<SocketBuffers<SOCKETS, 512, 512>> = ConstStaticCell::new(SocketBuffers::new());
static NET: StaticCell<Net> = StaticCell::new();
static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let result = run(spawner).await;
    if let Err(error) = &result {
        println!("{error}");
    }
    std::process::exit(i32::from(result.is_err()));
}

async fn run(spawner: Spawner) -> Result<(), Box<dyn Error>> {
    let stack = world::network(spawner)?;
    let net = &*NET.init(Sockets::new(stack, BUFFERS.take()));
    // A seed of the board's own: its random number generator, or its serial number and a count of its starts.
    let seed = 7;
    let options = ChannelOptions { backup: BackupDelay::After(Duration::from_millis(8)), ..ChannelOptions::brpc() };
    let limit = RatioLimit::new(RatioOptions::DEFAULT)?;
    let (line, checks) = Line::new(net, MEMORY.take(), options, RoundRobin::new(seed), limit, Health::none(), seed)?;
    for port in world::PORTS {
        line.insert(world::address(port), "")?;
    }
    spawner.spawn(check(checks)?);

    let plain = CallOptions { backup: Some(BackupDelay::Disabled), ..CallOptions::new() };
    println!("        median     p99    backups   of 1000 calls");
    for (name, options) in [("plain", &plain), ("hedged", &CallOptions::new())] {
        let (mut took, mut backups) = (Vec::new(), 0);
        for _ in 0..1_000 {
            let report = call(line, options).await;
            took.push(report.elapsed());
            backups += report.backups();
        }
        took.sort_unstable();
        let (median, p99) = (took.get(500).copied(), took.get(990).copied());
        let ms = |time: Option<Duration>| format!("{:.1} ms", time.unwrap_or_default().as_micros() as f64 / 1_000.0);
        println!("{name:6} {:>8} {:>8} {backups:>8}", ms(median), ms(p99));
    }
    println!("{} buffers and {} sockets are free again", line.free_buffers(), net.free());
    Ok(())
}

/// One call; what it answers is in the buffer of its attempt until it is dropped.
async fn call(line: Line, options: &CallOptions<'_>) -> Report {
    match line.call_with(&Request::get("/temperature"), options).await {
        Ok(reply) => {
            assert_eq!((reply.status(), reply.body().len()), (200, 5), "what these servers answer");
            reply.report().clone()
        }
        Err(error) => {
            println!("{error}");
            error.report().cloned().unwrap_or_else(|| unreachable!("these options can be carried out"))
        }
    }
}

/// Servers that cannot be connected to come back by this.
#[embassy_executor::task]
async fn check(mut checks: Runner<'static, Net, Memory>) {
    match checks.run().await {}
}

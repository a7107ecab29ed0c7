//! Hedged calls on embassy's executor, as a firmware makes them: `cargo run --release` in this directory. On a board only
//! `world` is different: its stack runs over the driver of the board's network, and embassy-time over the board's timer.

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

/// Two sockets for the attempts of a call, and one for checks.
const SOCKETS: usize = 3;

// All types get a name here, since tasks of embassy's executor cannot be generic.
type Net = Sockets<'static, SOCKETS>;
/// Round robin, a limit on backups, and a mutex that does nothing, since everything runs on one executor. At most 4 servers,
/// 2 attempts at once, and 512 bytes for a response.
type Memory = Resources<Choice<RoundRobin, RatioLimit, NoopRawMutex>, 4, 2, 512>;
type Client = Channel<'static, Net, Memory>;

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
    // On a board, the seed comes from its random number generator, or from its serial number and the number of its starts.
    let seed = 7;
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(8)), ..ChannelOptions::brpc() };
    let limit = RatioLimit::new(RatioOptions::DEFAULT);
    let (channel, checks) =
        Client::new(net, MEMORY.take(), options, RoundRobin::new(seed), limit, Health::none(), seed);
    for port in world::PORTS {
        channel.insert(world::address(port), "")?;
    }
    spawner.spawn(check(checks)?);

    let plain = CallOptions { backup: Some(BackupDelay::OFF), ..CallOptions::new() };
    println!("        median     p99    backups   of 1000 calls");
    for (name, options) in [("plain", &plain), ("hedged", &CallOptions::new())] {
        let (mut took, mut backups) = (Vec::new(), 0);
        for _ in 0..1_000 {
            let report = call(channel, options).await;
            took.push(report.elapsed());
            backups += report.backups();
        }
        took.sort_unstable();
        let (median, p99) = (took.get(500).copied(), took.get(990).copied());
        let ms = |time: Option<Duration>| format!("{:.1} ms", time.unwrap_or_default().as_micros() as f64 / 1_000.0);
        println!("{name:6} {:>8} {:>8} {backups:>8}", ms(median), ms(p99));
    }
    println!("{} buffers and {} sockets are free again", channel.free_buffers(), net.free());
    Ok(())
}

/// Makes one call. Its response stays in the buffer of its attempt until it is dropped, at the end of this function.
async fn call(channel: Client, options: &CallOptions<'_>) -> Report {
    match channel.call_with(&Request::get("/temperature"), options).await {
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

/// Checks servers that could not be connected to.
#[embassy_executor::task]
async fn check(mut checks: Runner<'static, Net, Memory>) {
    match checks.run().await {}
}

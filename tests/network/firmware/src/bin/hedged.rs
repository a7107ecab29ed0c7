//! Makes the same GETs as `plain`, over a channel of hedge with `rr`, a ratio limit, and a backup after 5 ms.
//!
//! It is also a template for a real board. Two parts are different there. Instead of `board`, with its time driver, its
//! executor and its driver for the network controller, a program uses crates of the board's maker (embassy-stm32,
//! embassy-rp, esp-hal, …). And instead of `Arguments` it has a configuration.

#![no_std]
#![no_main]

use core::net::SocketAddr;

use embassy_executor::Spawner;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use hedge_embassy::hedge_core::balance::RoundRobin;
use hedge_embassy::hedge_core::health::{Health, NoBreaker};
use hedge_embassy::hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_embassy::hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_embassy::hedge_core::time::Duration;
use hedge_embassy::{Channel, Parts, Request, Resources, SocketBuffers, Sockets};
use hedge_network_firmware::arguments::Arguments;
use hedge_network_firmware::board::lan9118::Lan9118;
use hedge_network_firmware::board::{self, executor, semihost, stack};
use hedge_network_firmware::client::RESPONSE;
use hedge_network_firmware::load::{self, Run};
use hedge_network_firmware::network::{self, RECEIVED, SENT, SOCKETS};
// It provides 64-bit atomics.
use portable_atomic as _;
use static_cell::ConstStaticCell;

/// How many calls are made.
const CALLS: usize = 400;

/// The types that the channel is made of.
struct Board;

impl Parts for Board {
    type Balancer = RoundRobin;
    /// It counts in eight buckets instead of sixteen. So it forgets a window in larger steps, and takes 128 bytes less.
    type Policy = RatioLimit<8>;
    type Mutex = CriticalSectionRawMutex;
    type Breaker = NoBreaker;
    type Tag = ();
}

/// Room for eight servers, and for as many attempts at once as there are sockets.
type Memory = Resources<Board, 8, SOCKETS, RESPONSE>;

#[cortex_m_rt::entry]
fn main() -> ! {
    let Ok(controller) = board::start() else { semihost::exit(false) };
    executor::run(|spawner| match calls(spawner, controller) {
        Ok(task) => spawner.spawn(task),
        Err(_) => semihost::exit(false),
    })
}

#[embassy_executor::task]
async fn calls(spawner: Spawner, controller: Lan9118) {
    // All memory is static. If it does not fit, the program does not link.
    static RUN: ConstStaticCell<Run<CALLS>> = ConstStaticCell::new(Run::new());
    static BUFFERS: ConstStaticCell<SocketBuffers<SOCKETS, SENT, RECEIVED>> =
        ConstStaticCell::new(SocketBuffers::new());
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    let arguments = Arguments::read();
    // An embassy-net stack that already has its address. Its runner is a task of its own.
    let network = network::start(spawner, controller, arguments.seed).await;
    // A pool of the stack's sockets. An attempt that is dropped gives its socket back.
    let sockets = Sockets::new(network, BUFFERS.take());
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(5)), ..ChannelOptions::brpc() };
    let limit = RatioLimit::new(RatioOptions::DEFAULT);
    let (balancer, seed) = (RoundRobin::new(arguments.seed), arguments.seed);
    // The second value is a `Runner`. A program that wants servers to be isolated and checked runs it in a task of its own.
    let (channel, _) = Channel::new(&sockets, MEMORY.take(), options, balancer, limit, Health::none(), seed);
    // The list may change at any time. `channel` is three pointers: each task that needs it gets a copy.
    for server in arguments.servers() {
        let _ = channel.insert(SocketAddr::V4(*server), ());
    }
    let run = RUN.take();
    load::run(run, CALLS, &mut [(), ()], async |(), _| {
        channel.call(&Request::get("/hedged")).await.is_ok_and(|reply| reply.status() == 200)
    })
    .await;
    run.print("hedged");
    defmt::info!("buffers {=usize} bytes", SOCKETS * (RECEIVED + SENT + RESPONSE));
    defmt::info!("stack {=usize} bytes", stack::high_water());
    semihost::exit(run.failed == 0);
}

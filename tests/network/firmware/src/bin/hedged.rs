//! The same GETs as those of `plain`, by a channel of hedge's: `rr`, a ratio limit, and a backup after 5 ms.
//!
//! Also a template for a real board: what is of this one is `board`, a time driver, an executor and a driver for the network
//! controller, for which crates of the maker stand elsewhere (embassy-stm32, embassy-rp, esp-hal, …), and `Arguments`, which
//! a product reads from its configuration.

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
// For its critical sections.
use portable_atomic as _;
use static_cell::ConstStaticCell;

/// How many calls.
const CALLS: usize = 400;

/// What the channel is made of.
struct Board;

impl Parts for Board {
    type Balancer = RoundRobin;
    /// It counts in eight buckets instead of sixteen: it forgets a window in larger steps, and takes 128 bytes less.
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
    // All memory is lent, and static: what does not fit is seen when the program is linked.
    static RUN: ConstStaticCell<Run<CALLS>> = ConstStaticCell::new(Run::new());
    static BUFFERS: ConstStaticCell<SocketBuffers<SOCKETS, SENT, RECEIVED>> =
        ConstStaticCell::new(SocketBuffers::new());
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    let arguments = Arguments::read();
    // An embassy-net stack that has its address; its runner is a task of its own.
    let network = network::start(spawner, controller, arguments.seed).await;
    // A pool of the stack's sockets: dropped attempts give theirs back.
    let sockets = Sockets::new(network, BUFFERS.take());
    let options = ChannelOptions { backup: BackupDelay::After(Duration::from_millis(5)), ..ChannelOptions::brpc() };
    let Ok(limit) = RatioLimit::new(RatioOptions::DEFAULT) else { semihost::exit(false) };
    let (balancer, seed) = (RoundRobin::new(arguments.seed), arguments.seed);
    // The second is a `Runner`, to be run in a task of its own where servers are to be isolated and checked; not here.
    let Ok((channel, _)) = Channel::new(&sockets, MEMORY.take(), options, balancer, limit, Health::none(), seed) else {
        semihost::exit(false)
    };
    // The list may change at any time: `channel` is a copy of three pointers, for every task that needs one.
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

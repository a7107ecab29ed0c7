//! The network: a stack that gets its address by DHCP, and a fixed number of sockets.

use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_time::{Duration, Timer};
use static_cell::StaticCell;

use crate::board::lan9118::Lan9118;

/// The number of sockets: for two calls at once, with two attempts each.
pub const SOCKETS: usize = 4;
/// How many received bytes a socket holds until they are read.
pub const RECEIVED: usize = 1024;
/// How many bytes a socket holds until they are sent.
pub const SENT: usize = 512;

/// Starts the network, and waits until it has an address. It must be called once only.
pub async fn start(spawner: Spawner, controller: Lan9118, seed: u64) -> Stack<'static> {
    // One more socket is for DHCP.
    static RESOURCES: StaticCell<StackResources<{ SOCKETS + 1 }>> = StaticCell::new();
    let resources = RESOURCES.init_with(StackResources::new);
    let (stack, runner) = embassy_net::new(controller, Config::dhcpv4(Default::default()), resources, seed);
    match (run(runner), tick()) {
        (Ok(run), Ok(tick)) => {
            spawner.spawn(run);
            spawner.spawn(tick);
        }
        _ => defmt::error!("the network is running already"),
    }
    stack.wait_config_up().await;
    stack
}

#[embassy_executor::task]
async fn run(mut runner: Runner<'static, Lan9118>) -> ! {
    runner.run().await
}

/// This is for QEMU only. Its network reads what the host has sent when a timer ends, and not when the guest has sent
/// something. Without this task an answer would wait for the next timer that ends.
#[embassy_executor::task]
async fn tick() -> ! {
    loop {
        Timer::after(Duration::from_millis(1)).await;
    }
}

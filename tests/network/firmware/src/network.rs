//! The network: an address by DHCP, and connections out of a fixed number of sockets.

use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_time::{Duration, Timer};
use static_cell::StaticCell;

use crate::board::lan9118::Lan9118;

/// The most sockets there may be: for two calls at once, of two attempts each.
pub const SOCKETS: usize = 4;
/// Bytes that a socket takes in before it is read.
pub const RECEIVED: usize = 1024;
/// Bytes that a socket takes before they are sent.
pub const SENT: usize = 512;

/// Starts the network, and waits for an address. To be called once.
pub async fn start(spawner: Spawner, controller: Lan9118, seed: u64) -> Stack<'static> {
    // One for DHCP.
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

/// For QEMU alone. Its network looks anew for what the host has sent whenever a timer ends, and not because the guest has
/// sent something: without this an answer would wait for whatever timer ends next.
#[embassy_executor::task]
async fn tick() -> ! {
    loop {
        Timer::after(Duration::from_millis(1)).await;
    }
}

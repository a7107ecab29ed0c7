//! Makes plain GETs to eight servers, two at a time. Hedge's size is the difference to this program.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use hedge_network_firmware::arguments::Arguments;
use hedge_network_firmware::board::lan9118::Lan9118;
use hedge_network_firmware::board::{self, executor, semihost, stack};
use hedge_network_firmware::client::{Client, RESPONSE};
use hedge_network_firmware::load::{self, CLIENTS, Run};
use hedge_network_firmware::network::{self, RECEIVED, SENT};
use static_cell::ConstStaticCell;

/// How many calls are made.
const CALLS: usize = 400;

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
    static RUN: ConstStaticCell<Run<CALLS>> = ConstStaticCell::new(Run::new());
    static BUFFERS: ConstStaticCell<[([u8; RECEIVED], [u8; SENT]); CLIENTS]> =
        ConstStaticCell::new([([0; RECEIVED], [0; SENT]); CLIENTS]);
    let arguments = Arguments::read();
    let network = network::start(spawner, controller, arguments.seed).await;
    let servers = arguments.servers();
    let buffers = BUFFERS.take().each_mut();
    let mut clients = buffers.map(|(received, sent)| Client::new(TcpSocket::new(network, received, sent)));
    let run = RUN.take();
    load::run(run, CALLS, &mut clients, async |client, number| {
        let Some(server) = servers.get(number % servers.len().max(1)) else { return false };
        client.get(*server, "/plain", |status, _| status).await == Ok(200)
    })
    .await;
    run.print("plain");
    defmt::info!("buffers {=usize} bytes", CLIENTS * (RECEIVED + SENT + RESPONSE));
    defmt::info!("stack {=usize} bytes", stack::high_water());
    semihost::exit(run.failed == 0);
}

//! The network, which a board has and this process does not: two stacks, a wire between them on which a frame takes 1 ms,
//! and three servers on the far stack. Each server takes 20 ms longer for one request in twenty.

use embassy_executor::{SpawnError, Spawner};
use embassy_futures::join::join;
use embassy_net::tcp::{Error, TcpSocket};
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{Device, RxRunner, State, TxRunner};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Instant, Timer};
use static_cell::StaticCell;

const MTU: usize = 1514;
const WIRE_MS: u64 = 1;
/// How many connections a server accepts at once.
const PER_SERVER: usize = 4;
/// The servers' address and ports.
const SERVERS: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);
pub(crate) const PORTS: [u16; 3] = [8001, 8002, 8003];

/// Starts both stacks and the servers, and returns the near stack.
pub(crate) fn network(spawner: Spawner) -> Result<Stack<'static>, SpawnError> {
    static NEAR: StaticCell<State<MTU, 8, 8>> = StaticCell::new();
    static FAR: StaticCell<State<MTU, 8, 8>> = StaticCell::new();
    static NEAR_SOCKETS: StaticCell<StackResources<8>> = StaticCell::new();
    static FAR_SOCKETS: StaticCell<StackResources<16>> = StaticCell::new();
    let (near, from_near, to_near) = device(NEAR.init(State::new()));
    let (far, from_far, to_far) = device(FAR.init(State::new()));
    spawner.spawn(wire(from_near, to_far)?);
    spawner.spawn(wire(from_far, to_near)?);
    let address = Ipv4Address::new(10, 0, 0, 1);
    let (near, runner) = embassy_net::new(near, config(address), NEAR_SOCKETS.init(StackResources::new()), 1);
    spawner.spawn(run(runner)?);
    let (far, runner) = embassy_net::new(far, config(SERVERS), FAR_SOCKETS.init(StackResources::new()), 2);
    spawner.spawn(run(runner)?);
    for port in PORTS {
        for socket in 0..PER_SERVER {
            spawner.spawn(serve(far, port, socket)?);
        }
    }
    Ok(near)
}

/// The address of the server at this port.
pub(crate) fn address(port: u16) -> std::net::SocketAddr {
    (SERVERS, port).into()
}

type Ends = (Device<'static, MTU>, TxRunner<'static, MTU>, RxRunner<'static, MTU>);

fn device(state: &'static mut State<MTU, 8, 8>) -> Ends {
    let (runner, device) = embassy_net_driver_channel::new(state, HardwareAddress::Ip);
    let (link, rx, tx) = runner.split();
    link.set_link_state(LinkState::Up);
    (device, tx, rx)
}

fn config(address: Ipv4Address) -> Config {
    let address = Ipv4Cidr::new(address, 24);
    Config::ipv4_static(StaticConfigV4 { address, gateway: None, dns_servers: Default::default() })
}

#[embassy_executor::task(pool_size = 2)]
async fn run(mut runner: embassy_net::Runner<'static, Device<'static, MTU>>) {
    runner.run().await;
}

/// Carries frames in one direction.
#[embassy_executor::task(pool_size = 2)]
async fn wire(mut from: TxRunner<'static, MTU>, mut to: RxRunner<'static, MTU>) {
    let under_way: Channel<NoopRawMutex, (Instant, Vec<u8>), 32> = Channel::new();
    let enters = async {
        loop {
            let frame = from.tx_buf().await.to_vec();
            from.tx_done();
            under_way.send((Instant::now(), frame)).await;
        }
    };
    let leaves = async {
        loop {
            let (sent, frame) = under_way.receive().await;
            Timer::at(sent + embassy_time::Duration::from_millis(WIRE_MS)).await;
            if let Some(buffer) = to.rx_buf().await.get_mut(..frame.len()) {
                buffer.copy_from_slice(&frame);
                to.rx_done(frame.len());
            }
        }
    };
    join(enters, leaves).await;
}

/// Serves one connection after another.
#[embassy_executor::task(pool_size = PORTS.len() * PER_SERVER)]
async fn serve(stack: Stack<'static>, port: u16, number: usize) {
    let (mut rx, mut tx) = ([0; 512], [0; 512]);
    let mut socket = TcpSocket::new(stack, &mut rx, &mut tx);
    let mut random = fastrand::Rng::with_seed(u64::from(port) * 10 + number as u64);
    loop {
        // If a connection breaks, its client makes another one.
        let _ = answer(&mut socket, port, random.u32(..20) == 0).await;
        socket.abort();
        let _ = socket.flush().await;
    }
}

async fn answer(socket: &mut TcpSocket<'_>, port: u16, stalls: bool) -> Result<(), Error> {
    if socket.accept(port).await.is_err() {
        return Ok(());
    }
    let (mut request, mut length) = ([0; 512], 0);
    while !request.get(..length).is_some_and(|request| request.ends_with(b"\r\n\r\n")) {
        match socket.read(request.get_mut(length..).unwrap_or_default()).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    if stalls {
        Timer::after_millis(20).await;
    }
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{port}\n");
    let mut rest = response.as_bytes();
    while !rest.is_empty() {
        let written = socket.write(rest).await?;
        rest = rest.get(written..).unwrap_or_default();
    }
    socket.close();
    socket.flush().await
}

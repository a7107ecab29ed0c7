//! Two network stacks, joined by a wire: [`Network`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;

use embassy_futures::select::{Either, select};
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{RxRunner, State, TxRunner};
use embassy_time::{Duration, Instant, Timer};

use crate::World;

const MTU: usize = 1514;
/// How many sockets a stack has room for.
const SOCKETS: usize = 40;

/// The address of the near stack, which makes the calls.
pub const CLIENT: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
/// The address of the far stack, where the servers are.
pub const SERVERS: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// The wire between two stacks.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// How long a frame takes, in milliseconds.
    pub delay_ms: u64,
    /// How many of a thousand frames are lost.
    pub lost_per_mille: u32,
    /// The seed of that choice, and of the stacks' own random choices.
    pub seed: u64,
}

/// Two stacks, and the wire between them.
#[derive(Clone, Copy)]
pub struct Network {
    /// The stack that makes the calls.
    pub near: Stack<'static>,
    /// The stack with the servers.
    pub far: Stack<'static>,
    cut: &'static Cell<bool>,
}

impl Network {
    /// Makes two stacks and the wire. What they need lives until the process ends.
    #[must_use]
    pub fn new(world: &World, wire: Wire) -> Self {
        let (near, from_near, to_near) = stack(world, CLIENT, wire.seed);
        let (far, from_far, to_far) = stack(world, SERVERS, wire.seed + 1);
        let cut = Box::leak(Box::default());
        world.spawn(carry(from_near, to_far, wire, fastrand::Rng::with_seed(wire.seed + 2), cut));
        world.spawn(carry(from_far, to_near, wire, fastrand::Rng::with_seed(wire.seed + 3), cut));
        Self { near, far, cut }
    }

    /// Cuts the wire, so that all frames are lost, or repairs it.
    pub fn cut(&self, cut: bool) {
        self.cut.set(cut);
    }
}

type Ends = (Stack<'static>, TxRunner<'static, MTU>, RxRunner<'static, MTU>);

fn stack(world: &World, address: Ipv4Address, seed: u64) -> Ends {
    let state: &'static mut State<MTU, 16, 16> = Box::leak(Box::new(State::new()));
    let (runner, device) = embassy_net_driver_channel::new(state, HardwareAddress::Ip);
    let (link, rx, tx) = runner.split();
    link.set_link_state(LinkState::Up);
    let config = StaticConfigV4 { address: Ipv4Cidr::new(address, 24), gateway: None, dns_servers: Default::default() };
    let resources: &'static mut StackResources<SOCKETS> = Box::leak(Box::new(StackResources::new()));
    let (stack, mut runner) = embassy_net::new(device, Config::ipv4_static(config), resources, seed);
    world.spawn(async move { runner.run().await });
    (stack, tx, rx)
}

/// Carries frames in one direction, in their order.
async fn carry(
    mut from: TxRunner<'static, MTU>,
    mut to: RxRunner<'static, MTU>,
    wire: Wire,
    mut random: fastrand::Rng,
    cut: &Cell<bool>,
) {
    let under_way: RefCell<VecDeque<(Instant, Vec<u8>)>> = RefCell::default();
    loop {
        let due = under_way.borrow().front().map(|(at, _)| *at);
        let arrival = async {
            match due {
                Some(at) => Timer::at(at).await,
                None => pending().await,
            }
        };
        match select(from.tx_buf(), arrival).await {
            Either::First(frame) => {
                if random.u32(..1_000) >= wire.lost_per_mille && !cut.get() {
                    let at = Instant::now() + Duration::from_millis(wire.delay_ms);
                    under_way.borrow_mut().push_back((at, frame.to_vec()));
                }
                from.tx_done();
            }
            Either::Second(()) => {
                let frame = under_way.borrow_mut().pop_front();
                let Some((_, frame)) = frame else { continue };
                to.rx_buf().await[..frame.len()].copy_from_slice(&frame);
                to.rx_done(frame.len());
            }
        }
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

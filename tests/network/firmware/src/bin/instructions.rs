//! Measures how many instructions a call takes in hedge: it makes calls over a stack that answers from memory, with hedge
//! and without it. It needs a clock on which each instruction takes a nanosecond (QEMU's `-icount shift=0`).

#![no_std]
#![no_main]

use core::cell::Cell;
use core::convert::Infallible;
use core::net::{Ipv4Addr, SocketAddr};

use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_time::{Instant, with_timeout};
use embedded_io_async::{ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;
use hedge_embassy::hedge_core::balance::RoundRobin;
use hedge_embassy::hedge_core::health::{Health, NoBreaker};
use hedge_embassy::hedge_core::limit::{RatioLimit, RatioOptions};
use hedge_embassy::hedge_core::policy::{BackupDelay, ChannelOptions};
use hedge_embassy::hedge_core::time::Duration;
use hedge_embassy::{Channel, Choice, Request, Resources};
use hedge_network_firmware::board::{self, executor, semihost};
use hedge_network_firmware::client::{self, RESPONSE, TIMEOUT};
use hedge_network_firmware::network::SOCKETS;
// It provides 64-bit atomics.
use portable_atomic as _;
use static_cell::ConstStaticCell;

/// How many calls are counted.
const CALLS: u32 = 1_000;
/// How many calls are made before them.
const FIRST: u32 = 100;
/// How many instructions a microsecond has.
const INSTRUCTIONS: u64 = 1_000;
/// The answer of every server.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\nconnection: close\r\n\r\na small page\n";

type Memory = Resources<Choice<RoundRobin, RatioLimit, CriticalSectionRawMutex, NoBreaker, ()>, 8, SOCKETS, RESPONSE>;

#[cortex_m_rt::entry]
fn main() -> ! {
    if board::start().is_err() {
        semihost::exit(false);
    }
    executor::run(|spawner| match count() {
        Ok(task) => spawner.spawn(task),
        Err(_) => semihost::exit(false),
    })
}

#[embassy_executor::task]
async fn count() {
    static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
    let stack = Stack::default();
    let options = ChannelOptions { backup: BackupDelay::after(Duration::from_millis(5)), ..ChannelOptions::brpc() };
    let limit = RatioLimit::new(RatioOptions::DEFAULT);
    let (channel, _) = Channel::new(&stack, MEMORY.take(), options, RoundRobin::new(1), limit, Health::none(), 1);
    for port in 1..=8 {
        let _ = channel.insert(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ());
    }
    let request = Request::get("/page");
    let hedged = async || channel.call(&request).await.is_ok_and(|reply| reply.status() == 200);
    let plain = async || {
        let call = async {
            let Ok(mut connection) = stack.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await;
            client::get(&mut connection, "/page", &mut [0; RESPONSE], |status, _| status).await
        };
        with_timeout(TIMEOUT, call).await == Ok(Ok(200))
    };
    for (name, waits) in [("is answered at once", false), ("waits for its answer", true)] {
        stack.waits.set(waits);
        let (hedged, plain) = (measure(hedged).await, measure(plain).await);
        let added = hedged.saturating_sub(plain);
        defmt::info!(
            "a call that {=str}: {=u64} instructions, {=u64} without hedge, {=u64} added",
            name,
            hedged,
            plain,
            added
        );
    }
    semihost::exit(true);
}

/// The average number of instructions of a call.
async fn measure(call: impl AsyncFn() -> bool) -> u64 {
    let mut started = Instant::now();
    for number in 0..FIRST + CALLS {
        if number == FIRST {
            started = Instant::now();
        }
        if !call().await {
            defmt::error!("a call failed");
            semihost::exit(false);
        }
    }
    started.elapsed().as_micros() * INSTRUCTIONS / u64::from(CALLS)
}

/// A stack that answers every request from memory.
#[derive(Default)]
struct Stack {
    /// Whether a read has to wait once before it gets the answer.
    waits: Cell<bool>,
}

/// A connection of a [`Stack`].
struct Connection<'a> {
    stack: &'a Stack,
    answer: &'static [u8],
}

impl TcpConnect for Stack {
    type Error = Infallible;
    type Connection<'a> = Connection<'a>;

    async fn connect<'a>(&'a self, _server: SocketAddr) -> Result<Connection<'a>, Infallible> {
        Ok(Connection { stack: self, answer: ANSWER })
    }
}

impl ErrorType for Connection<'_> {
    type Error = Infallible;
}

impl Read for Connection<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if self.stack.waits.get() {
            yield_now().await;
        }
        let length = buffer.len().min(self.answer.len());
        let (now, later) = self.answer.split_at(length);
        buffer.get_mut(..length).unwrap_or_default().copy_from_slice(now);
        self.answer = later;
        Ok(length)
    }
}

impl Write for Connection<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

//! A driver for the Ethernet controller SMSC LAN9118, with embassy-net-driver's interface. It copies whole frames into and
//! out of the controller's memory, word by word. Registers and bits have the names of the data sheet.
//!
//! It assumes that the link is up. On a board with a socket it would have to ask the PHY.

use core::task::Context;

use cortex_m::peripheral::NVIC;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::waitqueue::AtomicWaker;

/// The address of the controller.
const BASE: usize = 0x4020_0000;
/// The interrupt that it is wired to.
const IRQ: u8 = 13;

const RX_DATA_FIFO: usize = 0x00;
const TX_DATA_FIFO: usize = 0x20;
const RX_STATUS_FIFO: usize = 0x40;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5c;
const BYTE_TEST: usize = 0x64;
const FIFO_INT: usize = 0x68;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const PMT_CTRL: usize = 0x84;
const MAC_CSR_CMD: usize = 0xa4;
const MAC_CSR_DATA: usize = 0xa8;

// Registers of the MAC, which are read and written through MAC_CSR_CMD.
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;

/// The value of BYTE_TEST if the byte order is right.
const BYTES_IN_ORDER: u32 = 0x8765_4321;
/// IRQ_CFG: interrupts are on, the line is high for an interrupt, and it is driven high and low.
const IRQ_EN_POL_TYPE: u32 = 1 << 8 | 1 << 4 | 1;
/// HW_CFG: 5 KB of the memory are for sending, and a bit that must be one.
const TX_FIF_SZ_5_MBO: u32 = 5 << 16 | 1 << 20;
/// HW_CFG: a reset. The bit is one until the reset has ended.
const SRST: u32 = 1;
/// PMT_CTRL: the controller is awake.
const READY: u32 = 1;
/// TX_CFG: sending is on, and the status of sent frames may be lost.
const TX_ON_TXSAO: u32 = 1 << 1 | 1 << 2;
/// MAC_CR: full duplex, sending and receiving are on.
const FDPX_TXEN_RXEN: u32 = 1 << 20 | 1 << 3 | 1 << 2;
/// MAC_CSR_CMD: there is a command, and it is a read.
const CSR_BUSY: u32 = 1 << 31;
const CSR_READ: u32 = 1 << 30;
/// INT_STS and INT_EN: there is more room for sending than FIFO_INT says, or there are more received frames.
const TDFA: u32 = 1 << 9;
const RSFL: u32 = 1 << 3;
/// FIFO_INT: the level for sending is room for a frame, in units of 64 bytes. The level for receiving is 0 frames.
const LEVELS: u32 = 25 << 24;
/// A transmit command: the frame begins and ends in this buffer.
const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
/// RX_STATUS_FIFO: the frame is damaged.
const ERROR: u32 = 1 << 15;

/// The length of the longest frame, with its header and without its check sequence.
const MTU: usize = 1514;
/// The length of the check sequence. It is part of a received frame's length.
const FCS: usize = 4;
/// The length of the longest frame in memory: whole words.
const FRAME: usize = (MTU + FCS).next_multiple_of(4);
/// How many bytes a frame to send takes in the controller at most, with the two words of command before it.
const SENT: u32 = 1536;
/// How often a bit is read until the driver gives up.
const PATIENCE: u32 = 1_000_000;

/// The waker of the task that waits for a frame or for room to send one.
static WAKER: AtomicWaker = AtomicWaker::new();

/// Why there is no controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, defmt::Format)]
pub enum Error {
    /// The controller was started before.
    Taken,
    /// There is no such controller at its address.
    Absent,
    /// The controller's reset does not end.
    Stuck,
}

/// Buffers for a received frame and for one to send.
#[derive(Debug)]
pub(super) struct Frames {
    received: [u8; FRAME],
    sent: [u8; FRAME],
}

impl Frames {
    /// Empty buffers.
    pub(super) const fn new() -> Self {
        Self { received: [0; FRAME], sent: [0; FRAME] }
    }
}

/// The controller.
#[derive(Debug)]
pub struct Lan9118 {
    address: [u8; 6],
    frames: &'static mut Frames,
}

impl Lan9118 {
    /// Resets the controller and lets it send, receive and interrupt.
    pub(super) fn start(frames: &'static mut Frames) -> Result<Self, Error> {
        // Reading this register wakes the controller.
        if read(BYTE_TEST) != BYTES_IN_ORDER {
            return Err(Error::Absent);
        }
        write(HW_CFG, SRST);
        until(|| read(HW_CFG) & SRST == 0)?;
        until(|| read(PMT_CTRL) & READY != 0)?;
        write(HW_CFG, TX_FIF_SZ_5_MBO);
        write(FIFO_INT, LEVELS);
        write(INT_EN, 0);
        write(INT_STS, u32::MAX);
        write(IRQ_CFG, IRQ_EN_POL_TYPE);
        let [a, b, c, d] = read_mac(ADDRL)?.to_le_bytes();
        let [e, f, ..] = read_mac(ADDRH)?.to_le_bytes();
        write_mac(MAC_CR, FDPX_TXEN_RXEN)?;
        write(TX_CFG, TX_ON_TXSAO);
        unmask();
        Ok(Self { address: [a, b, c, d, e, f], frames })
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received<'_>, Sending<'_>)> {
        let length = loop {
            // embassy-net may answer the frame at once. So the frame is not read before there is room for an answer.
            if !wait(cx, TDFA, has_room) || !wait(cx, RSFL, has_frame) {
                return None;
            }
            let status = read(RX_STATUS_FIFO);
            let length = (status >> 16 & 0x3fff) as usize;
            let mut words = self.frames.received.as_chunks_mut().0.iter_mut();
            for _ in 0..length.div_ceil(4) {
                let word = read(RX_DATA_FIFO);
                if let Some(four) = words.next() {
                    *four = word.to_le_bytes();
                }
            }
            if status & ERROR == 0 && (FCS..=FRAME).contains(&length) {
                break length - FCS;
            }
        };
        let frame = self.frames.received.get_mut(..length)?;
        Some((Received(frame), Sending(&mut self.frames.sent)))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Sending<'_>> {
        wait(cx, TDFA, has_room).then_some(Sending(&mut self.frames.sent))
    }

    fn link_state(&mut self, _cx: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received<'a>(&'a mut [u8]);

impl embassy_net_driver::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame.
#[derive(Debug)]
pub struct Sending<'a>(&'a mut [u8; FRAME]);

impl embassy_net_driver::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let length = length.min(MTU);
        let result = f(self.0.get_mut(..length).unwrap_or_default());
        #[allow(clippy::cast_possible_truncation, reason = "at most MTU")]
        let bytes = length as u32;
        write(TX_DATA_FIFO, FIRST_AND_LAST | bytes);
        write(TX_DATA_FIFO, bytes);
        for word in self.0.as_chunks().0.iter().take(length.div_ceil(4)) {
            write(TX_DATA_FIFO, u32::from_le_bytes(*word));
        }
        result
    }
}

/// Returns `there()`. If it is false, `cx` is woken by the interrupt `cause`, when it may be true.
fn wait(cx: &Context<'_>, cause: u32, there: fn() -> bool) -> bool {
    if there() {
        return true;
    }
    WAKER.register(cx.waker());
    // The cause is cleared before the second check, so that a later event interrupts.
    write(INT_STS, cause);
    let there = there();
    if !there {
        critical_section::with(|_| write(INT_EN, read(INT_EN) | cause));
    }
    there
}

/// Whether the longest frame can be sent.
fn has_room() -> bool {
    read(TX_FIFO_INF) & 0xffff >= SENT
}

/// Whether a frame has been received.
fn has_frame() -> bool {
    read(RX_FIFO_INF) & 0x00ff_0000 != 0
}

/// The handler of all interrupts except the core's. The controller's line stays high until its causes are gone, so they are
/// masked until the next check.
#[allow(
    unsafe_code,
    reason = "cortex-m-rt needs it for a handler of all interrupts; this one touches no state of the program"
)]
#[cortex_m_rt::exception]
unsafe fn DefaultHandler(_interrupt: i16) {
    write(INT_EN, 0);
    WAKER.wake();
}

/// Waits until `over` returns true, at most for [`PATIENCE`] checks.
fn until(mut over: impl FnMut() -> bool) -> Result<(), Error> {
    (0..PATIENCE).any(|_| over()).then_some(()).ok_or(Error::Stuck)
}

fn read_mac(register: u32) -> Result<u32, Error> {
    write(MAC_CSR_CMD, CSR_BUSY | CSR_READ | register);
    until(|| read(MAC_CSR_CMD) & CSR_BUSY == 0)?;
    Ok(read(MAC_CSR_DATA))
}

fn write_mac(register: u32, value: u32) -> Result<(), Error> {
    write(MAC_CSR_DATA, value);
    write(MAC_CSR_CMD, CSR_BUSY | register);
    until(|| read(MAC_CSR_CMD) & CSR_BUSY == 0)
}

#[allow(unsafe_code, reason = "the controller's registers are in memory, and only this file accesses them")]
fn read(register: usize) -> u32 {
    // SAFETY: this address is the controller's, and the program has no memory there.
    unsafe { core::ptr::with_exposed_provenance::<u32>(BASE + register).read_volatile() }
}

#[allow(unsafe_code, reason = "see `read`")]
fn write(register: usize, value: u32) {
    // SAFETY: see `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(BASE + register).write_volatile(value) }
}

/// The interrupt that the controller is wired to.
#[derive(Clone, Copy)]
struct Line;

#[allow(unsafe_code, reason = "the board has this interrupt")]
// SAFETY: the number does not change.
unsafe impl cortex_m::interrupt::InterruptNumber for Line {
    fn number(self) -> u16 {
        u16::from(IRQ)
    }
}

#[allow(
    unsafe_code,
    reason = "it can only break critical sections that mask single interrupts, and this program has none"
)]
fn unmask() {
    // SAFETY: the program has no critical section that masks this interrupt alone.
    unsafe { NVIC::unmask(Line) };
}

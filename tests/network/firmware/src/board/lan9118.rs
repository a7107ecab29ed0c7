//! The Ethernet controller SMSC LAN9118 behind embassy-net-driver's interface: frames are copied into and out of the
//! controller's own memory word by word, each at once as a whole. Names of registers and bits are the data sheet's.
//!
//! The link is taken to be up: on a board with a socket, the PHY would have to be asked.

use core::task::Context;

use cortex_m::peripheral::NVIC;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::waitqueue::AtomicWaker;

/// Where the controller is.
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

/// What BYTE_TEST holds, the right way round.
const BYTES_IN_ORDER: u32 = 0x8765_4321;
/// IRQ_CFG: interrupts are on, the line is high when there is one, and driven both ways.
const IRQ_EN_POL_TYPE: u32 = 1 << 8 | 1 << 4 | 1;
/// HW_CFG: 5 KB of the memory for sending, and a bit that must be one.
const TX_FIF_SZ_5_MBO: u32 = 5 << 16 | 1 << 20;
/// HW_CFG: a reset, until it is over.
const SRST: u32 = 1;
/// PMT_CTRL: the controller is awake.
const READY: u32 = 1;
/// TX_CFG: sends; what became of it may be forgotten.
const TX_ON_TXSAO: u32 = 1 << 1 | 1 << 2;
/// MAC_CR: full duplex, sends and receives.
const FDPX_TXEN_RXEN: u32 = 1 << 20 | 1 << 3 | 1 << 2;
/// MAC_CSR_CMD: there is a command, and it is a read.
const CSR_BUSY: u32 = 1 << 31;
const CSR_READ: u32 = 1 << 30;
/// INT_STS and INT_EN: there is more room for sending, or a frame more, than FIFO_INT says.
const TDFA: u32 = 1 << 9;
const RSFL: u32 = 1 << 3;
/// FIFO_INT: room for a frame, in units of 64 bytes; more than no frame.
const LEVELS: u32 = 25 << 24;
/// A transmit command: the frame begins and ends in this buffer.
const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
/// RX_STATUS_FIFO: the frame is damaged.
const ERROR: u32 = 1 << 15;

/// The longest frame with its header, without its check sequence.
const MTU: usize = 1514;
/// The check sequence, which is counted in a received frame's length.
const FCS: usize = 4;
/// The longest frame in memory: whole words.
const FRAME: usize = (MTU + FCS).next_multiple_of(4);
/// What a frame to send takes in the controller at most: two words of command first.
const SENT: u32 = 1536;
/// How often a bit is looked at before the controller counts as dead.
const PATIENCE: u32 = 1_000_000;

/// Woken when there is a frame, or room for one.
static WAKER: AtomicWaker = AtomicWaker::new();

/// Why there is no controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, defmt::Format)]
pub enum Error {
    /// It has been started before.
    Taken,
    /// Something else is at its address, or nothing.
    Absent,
    /// It does not come out of its reset.
    Stuck,
}

/// Room for a frame each way.
#[derive(Debug)]
pub(super) struct Frames {
    received: [u8; FRAME],
    sent: [u8; FRAME],
}

impl Frames {
    /// Empty.
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
            // An answer must have room, or the frame waits.
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

/// Whether `there` is true; if not, `cx` is woken by the interrupt `cause` when it may be.
fn wait(cx: &Context<'_>, cause: u32, there: fn() -> bool) -> bool {
    if there() {
        return true;
    }
    WAKER.register(cx.waker());
    // Cleared before the second look, so that what comes after it interrupts.
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

/// All interrupts but those of the core. The controller's line stays up until its causes are gone, so they are masked until
/// the next look.
#[allow(
    unsafe_code,
    reason = "cortex-m-rt's for a handler of them all: this one touches nothing that a program may hold"
)]
#[cortex_m_rt::exception]
unsafe fn DefaultHandler(_interrupt: i16) {
    write(INT_EN, 0);
    WAKER.wake();
}

/// Looks again and again, but not forever.
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

#[allow(unsafe_code, reason = "the controller's registers are memory, and only this file knows them")]
fn read(register: usize) -> u32 {
    // SAFETY: the controller answers at this address, where no memory of the program is.
    unsafe { core::ptr::with_exposed_provenance::<u32>(BASE + register).read_volatile() }
}

#[allow(unsafe_code, reason = "as `read`")]
fn write(register: usize, value: u32) {
    // SAFETY: as `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(BASE + register).write_volatile(value) }
}

/// The line that the controller is wired to, by its number.
#[derive(Clone, Copy)]
struct Line;

#[allow(unsafe_code, reason = "the board has this interrupt")]
// SAFETY: the number does not change.
unsafe impl cortex_m::interrupt::InterruptNumber for Line {
    fn number(self) -> u16 {
        u16::from(IRQ)
    }
}

#[allow(unsafe_code, reason = "breaks a critical section only where one is made of masked interrupts")]
fn unmask() {
    // SAFETY: see above.
    unsafe { NVIC::unmask(Line) };
}

//! The parts of an MPS2 with a Cortex-M3 (QEMU's `mps2-an385`) that embassy needs. On another board, a crate of that board's
//! maker has them.

pub mod executor;
pub mod lan9118;
pub mod semihost;
pub mod stack;
pub mod ticks;

use lan9118::{Frames, Lan9118};
use static_cell::ConstStaticCell;

/// The frequency of the core. SysTick counts with it.
const CORE_HZ: u32 = 25_000_000;

/// Starts the clock and the network controller.
///
/// # Errors
/// There is no such controller, or this function was called before.
pub fn start() -> Result<Lan9118, lan9118::Error> {
    static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());
    let core = cortex_m::Peripherals::take().ok_or(lan9118::Error::Taken)?;
    ticks::start(core.SYST);
    Lan9118::start(FRAMES.take())
}

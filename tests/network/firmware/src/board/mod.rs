//! An MPS2 with a Cortex-M3, as QEMU has it (`mps2-an385`): what embassy needs of it. On another board a crate of that
//! board's maker stands here.

pub mod executor;
pub mod lan9118;
pub mod semihost;
pub mod stack;
pub mod ticks;

use lan9118::{Frames, Lan9118};
use static_cell::ConstStaticCell;

/// The speed of the core, which SysTick counts at.
const CORE_HZ: u32 = 25_000_000;

/// Starts the clock and the network controller.
///
/// # Errors
/// There is no such controller, or this was called before.
pub fn start() -> Result<Lan9118, lan9118::Error> {
    static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());
    let core = cortex_m::Peripherals::take().ok_or(lan9118::Error::Taken)?;
    ticks::start(core.SYST);
    Lan9118::start(FRAMES.take())
}

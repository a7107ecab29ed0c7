//! What the debugger, or QEMU, gives and takes: arguments, the exit code, and where defmt writes to.

use defmt_semihosting as _;
use semihosting::experimental::env;

/// The longest command line.
const LINE: usize = 512;

/// Calls `take` with each argument; false if there is no command line, or a longer one, or one that is no text.
#[must_use]
pub fn arguments(mut take: impl FnMut(&str)) -> bool {
    let Ok(arguments) = env::args::<LINE>() else { return false };
    let mut arguments = &arguments;
    arguments.all(|argument| argument.map(&mut take).is_ok())
}

/// Ends QEMU with the verdict.
pub fn exit(passed: bool) -> ! {
    semihosting::process::exit(i32::from(!passed))
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // Where sizes are compared nothing is said: what is said would be a text for each place where there may be a panic. And
    // never the message, which would bring the formatting of every message with it.
    if cfg!(feature = "logs") {
        match info.location() {
            Some(place) => defmt::error!("panicked at {}:{}", place.file(), place.line()),
            None => defmt::error!("panicked"),
        }
    }
    exit(false)
}

defmt::timestamp!("{=u64:us}", embassy_time_driver::now());

//! Semihosting, the interface to the debugger or to QEMU: arguments, the exit code, and defmt's output.

use defmt_semihosting as _;
use semihosting::experimental::env;

/// The length of the longest command line.
const LINE: usize = 512;

/// Calls `take` with each argument. Returns false if there is no command line, if it is too long, or if it is not text.
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
    // Without `logs`, where sizes are compared, nothing is logged: a place would need a text for each possible panic. The
    // panic's message is never logged, since it would link the formatting of all messages.
    if cfg!(feature = "logs") {
        match info.location() {
            Some(place) => defmt::error!("panicked at {}:{}", place.file(), place.line()),
            None => defmt::error!("panicked"),
        }
    }
    exit(false)
}

defmt::timestamp!("{=u64:us}", embassy_time_driver::now());

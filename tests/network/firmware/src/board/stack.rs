//! Measures the highest use of the stack. cortex-m-rt's `paint-stack` has filled the stack with a pattern before the start.

use core::ptr;

use cortex_m_rt::STACK_PAINT_VALUE;

#[allow(unsafe_code, reason = "symbols of the linker script")]
unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// How many bytes of the stack were ever written to: from its start to the last one.
#[allow(unsafe_code, reason = "reads the memory of the stack, as the linker script defines it")]
pub fn high_water() -> usize {
    let (top, end) = (ptr::addr_of!(_stack_start), ptr::addr_of!(_stack_end));
    let mut untouched = end;
    // SAFETY: every word between the two is aligned memory, and is not written to while it is read.
    while untouched < top && unsafe { untouched.read_volatile() } == STACK_PAINT_VALUE {
        untouched = untouched.wrapping_add(1);
    }
    top.addr() - untouched.addr()
}

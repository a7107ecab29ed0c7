//! How deep the stack has been: cortex-m-rt's `paint-stack` filled it before anything ran.

use core::ptr;

use cortex_m_rt::STACK_PAINT_VALUE;

#[allow(unsafe_code, reason = "symbols of the linker script")]
unsafe extern "C" {
    static _stack_start: u32;
    static _stack_end: u32;
}

/// The bytes between the stack's start and the last that was ever written to.
#[allow(unsafe_code, reason = "reads memory that the linker script says is the stack's")]
pub fn high_water() -> usize {
    let (top, end) = (ptr::addr_of!(_stack_start), ptr::addr_of!(_stack_end));
    let mut untouched = end;
    // SAFETY: every word between the two is memory, aligned, and written to by nobody while it is looked at.
    while untouched < top && unsafe { untouched.read_volatile() } == STACK_PAINT_VALUE {
        untouched = untouched.wrapping_add(1);
    }
    top.addr() - untouched.addr()
}

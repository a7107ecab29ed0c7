//! Counts this thread's allocations. The count is one thread-local increment, so that those who allocate are not made to
//! pay for being counted; the ready-made crates keep books that would cost them more than the allocation.
#![allow(unsafe_code, reason = "a global allocator can be had in no other way; see the argument below")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Const-initialised and without a destructor: reaching it never allocates, and works at any time in a thread's life.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated or reallocated so far.
pub(crate) fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn counted() {
    COUNT.with(|count| count.set(count.get().wrapping_add(1)));
}

struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

// SAFETY: every method hands its arguments unchanged to the system's allocator and its answer back unchanged, so what
// `System` promises holds, and what it demands is what our caller owes us. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        counted();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        counted();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        counted();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

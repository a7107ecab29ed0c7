//! A buffer that each thread lends to its connections: [`with_scratch`].

use std::cell::RefCell;

use super::poll_bytes::BYTES_A_POLL;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BYTES_A_POLL].into());
}

/// Lends the thread's buffer, which bytes are read into before their connection sees them. If another connection uses it, or
/// the thread is ending, a small buffer on the stack is lent instead.
pub(super) fn with_scratch<T>(mut read: impl FnMut(&mut [u8]) -> T) -> T {
    let lent = SCRATCH.try_with(|scratch| Some(read(&mut scratch.try_borrow_mut().ok()?)));
    lent.ok().flatten().unwrap_or_else(|| read(&mut [0; 8192]))
}

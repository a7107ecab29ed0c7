//! Calls of a higher priority, between any two critical sections of a lower one.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use embassy_sync::blocking_mutex::raw::RawMutex;
use hedge_core::balance::RoundRobin;
use hedge_core::health::Health;
use hedge_core::policy::{ChannelOptions, NoPolicy};
use hedge_embassy::{Channel, Choice, Request, Resources};
use hedge_embassy_tests::{Loopback, Script, World};

const GET: Request<'_> = Request::get("/");

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static INTERRUPT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

/// What happens after so many further critical sections.
struct Interrupt {
    after: u32,
    handler: Box<dyn FnOnce()>,
}

/// Critical sections of one core: whoever interrupts comes between them, never within.
struct OneCore;

// One thread has all of them, and nothing runs within one but what it is for.
#[allow(unsafe_code, reason = "the trait's")]
unsafe impl RawMutex for OneCore {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait's")]
    const INIT: Self = Self;

    fn lock<R>(&self, section: impl FnOnce() -> R) -> R {
        DEPTH.set(DEPTH.get() + 1);
        let result = section();
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            interrupt();
        }
        result
    }
}

fn interrupt() {
    let due = INTERRUPT.with_borrow_mut(|interrupt| {
        let left = &mut interrupt.as_mut()?.after;
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return None;
        }
        interrupt.take()
    });
    if let Some(Interrupt { handler, .. }) = due {
        handler();
    }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Memory = Resources<Choice<RoundRobin, NoPolicy, OneCore>, 1, 1, 128>;
type Line = Channel<'static, Loopback, Memory>;

fn line() -> Line {
    let stack = Loopback::new(Script::answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"));
    let memory: &'static mut Memory = Box::leak(Box::default());
    let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::starting_at(0));
    let (line, _) = Channel::new(stack, memory, options, balancer, NoPolicy, Health::none(), 7).unwrap();
    line.insert("10.0.0.2:80".parse().unwrap(), "").unwrap();
    line
}

/// Does something at a lower priority, into which a call of a higher one comes after each number of critical sections.
/// Nothing happens afterwards but what wakes the call.
fn interrupted_everywhere(low: impl Fn(Line)) -> u32 {
    let _world = World::new();
    for after in 0.. {
        let line = line();
        let call: Rc<RefCell<Pin<Box<dyn Future<Output = _>>>>> = Rc::new(RefCell::new(Box::pin(line.call(&GET))));
        let wakes = Arc::<Wakes>::default();
        let poll = {
            let (call, wakes) = (Rc::clone(&call), Arc::clone(&wakes));
            move || call.borrow_mut().as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&wakes))))
        };
        let first = Rc::new(RefCell::new(None));
        let (result, high) = (Rc::clone(&first), poll.clone());
        let handler = Box::new(move || _ = result.borrow_mut().insert(high()));
        INTERRUPT.set(Some(Interrupt { after, handler }));
        low(line);
        if INTERRUPT.take().is_some() {
            return after;
        }
        let answered = match first.take() {
            Some(Poll::Ready(result)) => result,
            _ => {
                assert!(
                    wakes.0.load(Ordering::Relaxed) > 0,
                    "after {after} critical sections: waits, and is not woken"
                );
                let Poll::Ready(result) = poll() else { panic!("after {after} critical sections: woken for nothing") };
                result
            }
        };
        assert_eq!(answered.unwrap().body(), b"hi", "after {after} critical sections");
    }
    unreachable!()
}

#[test]
fn looking_at_free_buffers_takes_none_from_a_call() {
    let places = interrupted_everywhere(|line| assert!(line.free_buffers() <= 1));
    assert!(places > 0);
}

#[test]
fn a_call_that_ends_hands_its_buffer_to_one_that_waits() {
    let places = interrupted_everywhere(|line| {
        let mut call = Box::pin(line.call(&GET));
        // It finds the buffer, or has to wait for it, or is too late for one that waits at once: then it goes.
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(places > 5, "{places}");
}

//! A task of a higher priority that makes a call between any two critical sections of a task of a lower priority.

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

/// What runs after `after` more critical sections.
struct Interrupt {
    after: u32,
    handler: Box<dyn FnOnce()>,
}

/// Critical sections on one core: an interrupt comes between two of them, never within one.
struct OneCore;

// SAFETY: all critical sections are on one thread, and an interrupt only runs between them.
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
type Client = Channel<'static, Loopback, Memory>;

fn channel() -> Client {
    let stack = Loopback::new(Script::answers(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"));
    let memory: &'static mut Memory = Box::leak(Box::default());
    let (options, balancer) = (ChannelOptions::brpc(), RoundRobin::starting_at(0));
    let (channel, _) = Channel::new(stack, memory, options, balancer, NoPolicy, Health::none(), 7);
    channel.insert("10.0.0.2:80".parse().unwrap(), "").unwrap();
    channel
}

/// Runs `low` again and again. In each run it is interrupted once, one critical section later than in the run before, by a
/// call of a higher priority. That call must end, without any later event, if it is polled once more when it was woken.
/// Returns after how many critical sections `low` has ended.
fn interrupted_everywhere(low: impl Fn(Client)) -> u32 {
    let _world = World::new();
    for after in 0.. {
        let channel = channel();
        let call: Rc<RefCell<Pin<Box<dyn Future<Output = _>>>>> = Rc::new(RefCell::new(Box::pin(channel.call(&GET))));
        let wakes = Arc::<Wakes>::default();
        let poll = {
            let (call, wakes) = (Rc::clone(&call), Arc::clone(&wakes));
            move || call.borrow_mut().as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&wakes))))
        };
        let first = Rc::new(RefCell::new(None));
        let (result, high) = (Rc::clone(&first), poll.clone());
        let handler = Box::new(move || _ = result.borrow_mut().insert(high()));
        INTERRUPT.set(Some(Interrupt { after, handler }));
        low(channel);
        if INTERRUPT.take().is_some() {
            return after;
        }
        let answered = match first.take() {
            Some(Poll::Ready(result)) => result,
            _ => {
                assert!(
                    wakes.0.load(Ordering::Relaxed) > 0,
                    "after {after} critical sections: the call waits and is not woken"
                );
                let Poll::Ready(result) = poll() else {
                    panic!("after {after} critical sections: the call was woken, but waits again")
                };
                result
            }
        };
        assert_eq!(answered.unwrap().body(), b"hi", "after {after} critical sections");
    }
    unreachable!()
}

#[test]
fn reading_the_number_of_free_buffers_takes_no_buffer_from_a_call() {
    let places = interrupted_everywhere(|channel| assert!(channel.free_buffers() <= 1));
    assert!(places > 0);
}

#[test]
fn a_call_that_ends_passes_its_buffer_to_one_that_waits() {
    let places = interrupted_everywhere(|channel| {
        let mut call = Box::pin(channel.call(&GET));
        // It takes the buffer, or has to wait for it. Then it is dropped.
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(places > 5, "{places}");
}

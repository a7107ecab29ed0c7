//! The time driver for embassy-time: SysTick, in microseconds.
//!
//! SysTick counts down from a value that is set, and interrupts at zero. So it is the clock and the alarm at once. It is set
//! to the next alarm, or to its longest period (0.67 s), and the counted periods are added up. Each setting loses the few
//! cycles between reading and setting the counter. So the clock is good enough for timeouts, but not for the time of day.

use core::cell::RefCell;
use core::task::Waker;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use super::CORE_HZ;

/// How many cycles of the core a tick has.
#[allow(clippy::cast_possible_truncation, reason = "a million")]
const CYCLES: u32 = CORE_HZ / TICK_HZ as u32;
/// The longest period: SysTick has 24 bits.
const LONGEST: u32 = 0x00ff_ffff;
/// The shortest period: it does not end while SysTick is being set.
const SHORTEST: u32 = 50;

struct SysTick(Mutex<RefCell<Clock>>);

embassy_time_driver::time_driver_impl!(static DRIVER: SysTick = SysTick(Mutex::new(RefCell::new(Clock::new()))));

/// Starts the clock. Before that, it stands at zero.
pub(super) fn start(timer: SYST) {
    critical_section::with(|cs| DRIVER.0.borrow_ref_mut(cs).start(timer));
}

impl Driver for SysTick {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.0.borrow_ref_mut(cs).now())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut clock = self.0.borrow_ref_mut(cs);
            if clock.queue.schedule_wake(at, waker) {
                clock.wake_due();
            }
        });
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| DRIVER.0.borrow_ref_mut(cs).wake_due());
}

struct Clock {
    timer: Option<SYST>,
    /// The ticks before the current period.
    ticks: u64,
    /// The cycles before the current period that are not a whole tick.
    cycles: u32,
    /// The cycles of the current period.
    period: u32,
    /// How many of them have passed, at the last reading.
    passed: u32,
    queue: Queue,
}

impl Clock {
    const fn new() -> Self {
        Self { timer: None, ticks: 0, cycles: 0, period: LONGEST, passed: 0, queue: Queue::new() }
    }

    fn start(&mut self, mut timer: SYST) {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(LONGEST);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        self.timer = Some(timer);
        self.wake_due();
    }

    fn now(&mut self) -> u64 {
        let Some(timer) = &mut self.timer else { return 0 };
        let mut left = SYST::get_current();
        // `has_wrapped` returns true once for each wrap. The interrupt must be served within a period, or a period is lost.
        if timer.has_wrapped() {
            let cycles = self.cycles + self.period + 1;
            self.ticks += u64::from(cycles / CYCLES);
            self.cycles = cycles % CYCLES;
            self.passed = 0;
            left = SYST::get_current();
        }
        // At the end of a period the counter is zero until the next one begins.
        if left != 0 {
            self.passed = self.passed.max(self.period.saturating_sub(left));
        }
        self.ticks + u64::from((self.cycles + self.passed) / CYCLES)
    }

    /// Wakes the tasks that are due, and sets the alarm for the next one.
    fn wake_due(&mut self) {
        let now = self.now();
        let next = self.queue.next_expiration(now);
        let ticks = u32::try_from(next.saturating_sub(now)).unwrap_or(u32::MAX);
        let period = ticks.saturating_mul(CYCLES).clamp(SHORTEST, LONGEST);
        let Some(timer) = &mut self.timer else { return };
        timer.set_reload(period);
        timer.clear_current();
        let cycles = self.cycles + self.passed;
        self.ticks += u64::from(cycles / CYCLES);
        self.cycles = cycles % CYCLES;
        self.period = period;
        self.passed = 0;
    }
}

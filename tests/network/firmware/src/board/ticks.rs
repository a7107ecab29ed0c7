//! The time of embassy-time by SysTick, in microseconds.
//!
//! SysTick counts down from where it is told to and interrupts at zero, so it is the clock and the alarm at once: it is set
//! to the next alarm, or to the longest it can count (0.67 s), and what it has counted is added up. Setting it again loses
//! the few cycles between the look and the setting: fit for timeouts, and not for the time of day.

use core::cell::RefCell;
use core::task::Waker;

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use super::CORE_HZ;

/// Cycles of the core in a tick.
#[allow(clippy::cast_possible_truncation, reason = "a million")]
const CYCLES: u32 = CORE_HZ / TICK_HZ as u32;
/// SysTick has 24 bits.
const LONGEST: u32 = 0x00ff_ffff;
/// Long enough for SysTick to be set before it ends.
const SHORTEST: u32 = 50;

struct SysTick(Mutex<RefCell<Clock>>);

embassy_time_driver::time_driver_impl!(static DRIVER: SysTick = SysTick(Mutex::new(RefCell::new(Clock::new()))));

/// Starts the clock; before, it stands at zero.
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
    /// Ticks up to the start of the period that is under way.
    ticks: u64,
    /// Cycles up to there that make no whole tick.
    cycles: u32,
    /// The cycles of that period.
    period: u32,
    /// How many of them have been seen to pass.
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
        // Says so once. It is served within a period, or a period is lost.
        if timer.has_wrapped() {
            let cycles = self.cycles + self.period + 1;
            self.ticks += u64::from(cycles / CYCLES);
            self.cycles = cycles % CYCLES;
            self.passed = 0;
            left = SYST::get_current();
        }
        // Zero is the end of a period, and what is read until the next has begun.
        if left != 0 {
            self.passed = self.passed.max(self.period.saturating_sub(left));
        }
        self.ticks + u64::from((self.cycles + self.passed) / CYCLES)
    }

    /// Wakes those whose time has come and sets the alarm to the next.
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

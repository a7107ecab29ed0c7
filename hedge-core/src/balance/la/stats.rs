//! What `la` knows of one server.

use core::hint::spin_loop;

use super::super::timed_span::TimedSpan;
use crate::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed, Ordering::SeqCst};
use crate::time::{Duration, Instant, Micros, Timeout};

/// How many answers the queue holds.
const QUEUE: u32 = 128;
/// The least weight.
const FLOOR: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// A server is tried again after so long without an error.
const REST: Micros = Micros::from_secs(2);
/// The bit of [`LaStats::average`] that says that the throughput is known.
const KNOWN: u32 = 1 << 31;
/// How many errors in a row put a server out.
const IN_A_ROW: u64 = 3;
/// A server that answers as soon as the others weighs at least this share of what they do.
const KEEPS: (u64, u64) = (7, 8);
/// An idle server weighs at least this fraction (one in so many) of what the others do, so that some calls show when it
/// has become quick.
const TRIED: u64 = 20;
/// A new answer moves the recent latency of a server by this fraction (one in so many) of the difference.
const RECENT_FRACTION: u64 = 4;
/// The timeout that counts for an error of a call without one.
const NO_TIMEOUT: Micros = Micros::from_secs(30);
/// How often a feedback tries to lock the queue before it gives up.
const TRIES: u32 = 64;

/// What `la` knows of one server: 1080 bytes. The [module](super) says how its weight follows from that.
///
/// Threads share it through `&self`. Methods return the weight to [`set`](super::LaTree::set) in the tree. `others`
/// gives what the server is compared with.
#[derive(Debug)]
pub struct LaStats {
    /// Throughput over average latency.
    base: AtomicU64,
    /// An [`InFlight`].
    in_flight: AtomicU64,
    /// A [`LastError`]; 0 if there is none among the last 128 answers.
    error: AtomicU64,
    /// The average latency, in microseconds, and [`KNOWN`] in the topmost bit.
    average: AtomicU32,
    /// A [`TimedSpan`]: the recent latency, a moving average of the last few answers that abandoned attempts raise to
    /// their age, and when the last attempt was abandoned.
    recent: AtomicU64,
    /// The try-lock of the fields that follow.
    locked: AtomicBool,
    /// Where the oldest answer is, in the upper 16 bits, and how many answers there are, in the lower 16.
    place: AtomicU32,
    /// The latencies of all answers but the oldest.
    sum: AtomicU64,
    /// A ring buffer of answers, each a [`TimedSpan`]: its latency and its end.
    queue: [AtomicU64; QUEUE as usize],
}

/// What a server is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaOthers {
    /// What the others weigh on average; 0 if there are none.
    pub weight: u64,
    /// The latency of the fleet's last answers; zero before the first.
    pub latency: Micros,
}

impl LaOthers {
    /// The server is alone. It then has the weight that brpc would give it.
    pub const NONE: Self = Self { weight: 0, latency: Micros::ZERO };

    /// The weight that a server with this recent latency deserves: what the others weigh, times the square of the ratio
    /// of their latency to its own if it is slower.
    fn fair_weight(self, recent: u64) -> u64 {
        let fleet = self.latency.as_micros();
        if fleet == 0 || recent <= fleet {
            return self.weight;
        }
        scaled(scaled(self.weight, fleet, recent), fleet, recent)
    }
}

/// What the cost of an error depends on, apart from its latency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaFailure {
    /// How many retries the call may make.
    pub max_retry: u32,
    /// How many it had made before this attempt.
    pub retried: u32,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl LaStats {
    /// The weight of a server that gives one answer a second, in a microsecond. The first of all servers has it until
    /// it has answered.
    pub const SCALE: u64 = 1_008_680_231;

    /// The statistics of a server that has not answered yet. Until it has, it weighs `weight`, but no more than the
    /// others on average.
    #[must_use]
    pub const fn new(weight: u64) -> Self {
        Self {
            base: AtomicU64::new(weight),
            in_flight: AtomicU64::new(0),
            error: AtomicU64::new(0),
            average: AtomicU32::new(0),
            recent: AtomicU64::new(0),
            locked: AtomicBool::new(false),
            place: AtomicU32::new(0),
            sum: AtomicU64::new(0),
            queue: [const { AtomicU64::new(0) }; QUEUE as usize],
        }
    }

    /// What it weighs now.
    pub fn weight(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let in_flight = InFlight(self.in_flight.load(SeqCst));
        self.current_weight(now, in_flight, in_flight.count() == 0, others)
    }

    /// An attempt starts. Returns the weight without this attempt, and without the share that an idle server has so
    /// that it is tried: a server that is being tried weighs what it did before.
    pub fn started(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let before = InFlight(self.in_flight.fetch_add(InFlight::one(now), Relaxed));
        self.current_weight(now, before, false, others)
    }

    /// An attempt that started at `begin` has succeeded now. `None` if the weight stays: the attempt took no time, or
    /// the lock was taken.
    pub fn succeeded(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> Option<u64> {
        self.ended(begin);
        let latency = now.micros_since(begin);
        if latency == Micros::ZERO {
            return None;
        }
        let queue = self.lock()?;
        queue.push(now, latency);
        queue.update_recent(latency);
        queue.update_base(now)?;
        drop(queue);
        Some(self.weight(now, others))
    }

    /// An attempt that started at `begin` has failed now. `None` if the weight stays.
    pub fn failed(
        &self,
        now: Instant,
        begin: Instant,
        failure: LaFailure,
        others: impl FnOnce() -> LaOthers,
    ) -> Option<u64> {
        self.ended(begin);
        // On a coarse clock a fast failure seems to take no time.
        let latency = now.micros_since(begin).max(Micros::from_micros(1));
        let queue = self.lock()?;
        queue.add_error(now, failure.charged_latency(latency), failure.timeout());
        queue.update_base(now)?;
        drop(queue);
        Some(self.weight(now, others))
    }

    /// An attempt that started at `begin` has been abandoned now: its latency is unknown, but at least its age
    /// ([L13](crate::rules#L13)).
    pub fn abandoned(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.ended(begin);
        let word = self.error.load(SeqCst);
        if let Some(error) = LastError::of(word).filter(|error| error.answers() == 0 && error.rested(now)) {
            // This attempt tried a server after its rest: the rest begins again. If another thread has changed the word
            // since, it knows more.
            let _ = self.error.compare_exchange(word, error.at(now).word(), SeqCst, SeqCst);
        }
        let age = now.micros_since(begin);
        let recent = TimedSpan::of(self.recent.load(SeqCst)).span();
        self.recent.store(TimedSpan::new(now, recent.max(age)).word(), Relaxed);
        if age >= self.latency_micros()
            && let Some(queue) = self.lock()
        {
            // While no answers come, the throughput falls.
            queue.update_base(now);
        }
        self.weight(now, others)
    }

    /// An attempt that started at `begin` is over now, and says nothing about the server ([S7](crate::rules#S7)).
    pub fn withdrawn(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.ended(begin);
        self.weight(now, others)
    }

    /// How many attempts are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        InFlight(self.in_flight.load(SeqCst)).count()
    }

    /// The weight before the others, attempts in flight and the least weight count.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.load(SeqCst)
    }

    /// The average latency; zero before the first answer.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.latency_micros().to_duration()
    }

    pub(super) fn latency_micros(&self) -> Micros {
        Micros::from_micros((self.average.load(Relaxed) & !KNOWN).into())
    }

    fn current_weight(&self, now: Instant, in_flight: InFlight, idle: bool, others: impl FnOnce() -> LaOthers) -> u64 {
        let average = self.average.load(Relaxed);
        let bound = u64::from(average & !KNOWN) * 3 / 2;
        let others = others();
        let base = match LastError::of(self.error.load(SeqCst)) {
            // It is alone: brpc's weight.
            _ if others.weight == 0 => self.base(),
            None => self.weight_among_others(now, others, average, idle),
            Some(error) if error.rested(now) && error.answers() > 0 => {
                self.weight_among_others(now, others, average, idle)
            }
            // It has rested: one call may try it.
            Some(error) if error.rested(now) && idle => self.base().max(others.weight),
            Some(error) if error.is_out() => FLOOR,
            Some(_) => self.base(),
        };
        let age = in_flight.mean_age(now);
        // Attempts in flight for longer than 1.5 average latencies lower the weight in proportion.
        if bound == 0 || age < bound {
            return base.max(FLOOR);
        }
        scaled(base, bound, age).max(FLOOR)
    }

    /// The weight of a server compared with the others, if no last error counts against it.
    fn weight_among_others(&self, now: Instant, others: LaOthers, average: u32, idle: bool) -> u64 {
        let recent = TimedSpan::of(self.recent.load(SeqCst));
        let (known, average) = (average & KNOWN != 0, u64::from(average & !KNOWN));
        let fair_weight = others.fair_weight(recent.span().as_micros());
        let tried = if idle && recent.age(now) >= REST { others.weight / TRIED } else { 0 };
        if average == 0 {
            return self.base().min(fair_weight).max(tried);
        }
        let late = recent.span().as_micros() >= 2 * average;
        if !known && !late {
            return self.base().max(others.weight);
        }
        // The queue does not show yet how slow the server has become.
        let base = if late { scaled(self.base(), average, recent.span().as_micros()) } else { self.base() };
        base.max(scaled(fair_weight, KEEPS.0, KEEPS.1)).max(tried)
    }

    fn ended(&self, begin: Instant) {
        self.in_flight.fetch_sub(InFlight::one(begin), Relaxed);
    }

    /// Locks the queue; `None` if other threads hold the lock all the time.
    fn lock(&self) -> Option<Locked<'_>> {
        for _ in 0..TRIES {
            if !self.locked.swap(true, Ordering::Acquire) {
                return Some(Locked(self));
            }
            spin_loop();
        }
        None
    }
}

impl LaFailure {
    /// The latency that a failed attempt counts: the mean of 1.2 times its own and the timeout, weighted by the retries
    /// that are left and those that were made.
    fn charged_latency(&self, latency: Micros) -> Micros {
        let (done, left) = match self.max_retry {
            0 => (1, 0),
            most => (u64::from(self.retried), u64::from(most.saturating_sub(self.retried))),
        };
        let longer = latency + Micros::from_micros(latency.as_micros() / 5);
        let sum =
            left.saturating_mul(longer.as_micros()).saturating_add(done.saturating_mul(self.timeout().as_micros()));
        Micros::from_micros(sum.checked_div(left + done).unwrap_or(0))
    }

    const fn timeout(&self) -> Micros {
        match self.timeout.limit_micros() {
            Some(timeout) => timeout,
            None => NO_TIMEOUT,
        }
    }
}

/// `weight * part / whole`, where `part` is at most `whole`. If the product overflows, it divides first, which is less
/// exact.
fn scaled(weight: u64, part: u64, whole: u64) -> u64 {
    let product = weight.checked_mul(part).and_then(|product| product.checked_div(whole));
    product.unwrap_or_else(|| weight.checked_div(whole).unwrap_or(weight).saturating_mul(part))
}

/// The locked queue; dropping it unlocks.
struct Locked<'a>(&'a LaStats);

impl Locked<'_> {
    /// Appends an answer, and drops the oldest if the queue is full.
    fn push(&self, now: Instant, latency: Micros) {
        let (mut oldest, mut len) = self.place();
        // The oldest answer is not part of the sum: the throughput counts the answers since its end.
        let mut sum = self.0.sum.load(SeqCst);
        if len == QUEUE {
            oldest = (oldest + 1) % QUEUE;
            len -= 1;
            sum = sum.wrapping_sub(self.answer(oldest).span().as_micros());
        }
        let answer = TimedSpan::new(now, latency);
        if len > 0 {
            sum = sum.wrapping_add(answer.span().as_micros());
        }
        self.put((oldest + len) % QUEUE, answer);
        self.0.sum.store(sum, Relaxed);
        self.0.place.store(oldest << 16 | (len + 1), Relaxed);
        let error = LastError::of(self.0.error.load(SeqCst));
        let error = error.and_then(LastError::answered);
        self.0.error.store(error.map_or(0, LastError::word), Relaxed);
    }

    /// Moves the recent latency a part of the way to the latency of a new answer.
    fn update_recent(&self, latency: Micros) {
        let recent = TimedSpan::of(self.0.recent.load(SeqCst));
        let to = match recent.span() {
            Micros::ZERO => latency,
            // Less than half of it: the server has recovered. It moves half of the way, so that few answers show that.
            more if more > latency + latency => Micros::from_micros((more + latency).as_micros() / 2),
            more if more > latency => {
                more - Micros::from_micros((more - latency).as_micros().div_ceil(RECENT_FRACTION))
            }
            less => less + Micros::from_micros((latency - less).as_micros() / RECENT_FRACTION),
        };
        // This may undo a raise by another thread in between. Its next abandoned attempt raises it again.
        self.0.recent.store(recent.with(to).word(), Relaxed);
    }

    /// Takes in an error: the last answer takes longer. Before the first answer, the error becomes that answer, with a
    /// latency of at least the timeout.
    fn add_error(&self, now: Instant, by: Micros, timeout: Micros) {
        let (oldest, len) = self.place();
        let error = LastError::following(LastError::of(self.0.error.load(SeqCst)), now);
        if len == 0 {
            self.push(now, by.max(timeout));
        } else {
            let newest = (oldest + len - 1) % QUEUE;
            let was = self.answer(newest).span();
            let answer = TimedSpan::new(now, was + by);
            if len > 1 {
                let sum = self.0.sum.load(SeqCst);
                self.0.sum.store(sum.wrapping_add((answer.span() - was).as_micros()), Relaxed);
            }
            self.put(newest, answer);
        }
        self.0.error.store(error.word(), Relaxed);
    }

    /// Computes the base weight from the queue. `None` if the weight is left as it was.
    fn update_base(&self, now: Instant) -> Option<()> {
        let (oldest, len) = self.place();
        let oldest = if len > 0 { self.answer(oldest) } else { return None };
        let span = oldest.age(now).as_micros();
        let average = match (span, len) {
            (0, 1) => oldest.span().as_micros(),
            // All answers ended at once, or the clock went back.
            (0, _) => return None,
            _ => self.0.sum.load(SeqCst).checked_div(u64::from(len.saturating_sub(1)))?,
        };
        let known = len == QUEUE || span >= SECOND;
        let answers = if known { u64::from(len.saturating_sub(1)) * SECOND } else { 0 };
        // At least one answer a second, which also stands for a throughput that is not known yet.
        let throughput = (answers * LaStats::SCALE / span.max(1)).max(LaStats::SCALE);
        self.0.base.store(throughput.checked_div(average)?, Relaxed);
        let average = u32::try_from(average).unwrap_or(0);
        self.0.average.store(if known { average | KNOWN } else { average }, Relaxed);
        Some(())
    }

    /// Where the oldest answer is, and how many there are.
    fn place(&self) -> (u32, u32) {
        let place = self.0.place.load(Relaxed);
        (place >> 16, place & 0xFFFF)
    }

    fn answer(&self, index: u32) -> TimedSpan {
        TimedSpan::of(self.slot(index).map_or(0, |slot| slot.load(SeqCst)))
    }

    fn put(&self, index: u32, answer: TimedSpan) {
        if let Some(slot) = self.slot(index) {
            slot.store(answer.word(), Relaxed);
        }
    }

    fn slot(&self, index: u32) -> Option<&AtomicU64> {
        usize::try_from(index).ok().and_then(|index| self.0.queue.get(index))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// What [`LaStats::error`] holds: when the last error was, and the errors and answers around it. As a word it is a
/// [`TimedSpan`] whose span is `history`.
#[derive(Clone, Copy)]
struct LastError {
    at: TimedSpan,
    /// Up to 3: how many errors there were in a row, the last one included, with no answer since. Above 3: 3 plus the
    /// number of answers since.
    history: u64,
}

impl LastError {
    fn of(word: u64) -> Option<Self> {
        let at = TimedSpan::of(word);
        Some(at.span().as_micros()).filter(|history| *history > 0).map(|history| Self { at, history })
    }

    fn word(self) -> u64 {
        self.at.with(Micros::from_micros(self.history)).word()
    }

    /// The last error, after one more now.
    fn following(last: Option<Self>, now: Instant) -> Self {
        let in_a_row = last.filter(|last| last.answers() == 0).map_or(0, |last| last.history);
        Self { at: TimedSpan::new(now, Micros::ZERO), history: (in_a_row + 1).min(IN_A_ROW) }
    }

    fn at(self, now: Instant) -> Self {
        Self { at: TimedSpan::new(now, Micros::ZERO), ..self }
    }

    /// The same error after one more answer; `None` once it has left the queue.
    fn answered(self) -> Option<Self> {
        let answers = self.answers() + 1;
        (answers < QUEUE.into()).then_some(Self { history: IN_A_ROW + answers, ..self })
    }

    const fn answers(self) -> u64 {
        self.history.saturating_sub(IN_A_ROW)
    }

    const fn is_out(self) -> bool {
        self.history == IN_A_ROW
    }

    fn rested(self, now: Instant) -> bool {
        self.at.age(now) >= REST
    }
}

/// The attempts in flight: their count in the lower 18 bits, and above it the sum of their starts, modulo 2^46. So one
/// addition starts an attempt, one subtraction ends it, and a load gives the mean age. 262,143 attempts can be in
/// flight, with ages of 2^45 us (13 months) together.
#[derive(Clone, Copy)]
struct InFlight(u64);

impl InFlight {
    const COUNT_BITS: u32 = 18;
    const SUM_MASK: u64 = u64::MAX >> Self::COUNT_BITS;

    const fn one(begin: Instant) -> u64 {
        begin.as_micros() << Self::COUNT_BITS | 1
    }

    const fn count(self) -> u32 {
        (self.0 & ((1 << Self::COUNT_BITS) - 1)) as u32
    }

    /// The mean age of the attempts, in microseconds, rounded up, since the mean of their starts is rounded down.
    fn mean_age(self, now: Instant) -> u64 {
        let count = u64::from(self.count());
        if count == 0 {
            return 0;
        }
        let ages = count.wrapping_mul(now.as_micros()).wrapping_sub(self.0 >> Self::COUNT_BITS) & Self::SUM_MASK;
        // A negative sum comes from threads whose time is a little late.
        if ages > Self::SUM_MASK / 2 { 0 } else { ages.div_ceil(count) }
    }
}

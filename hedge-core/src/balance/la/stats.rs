//! What `la` knows about one server: [`LaStats`].

use core::hint::spin_loop;

use super::super::timed_span::TimedSpan;
use crate::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed, Ordering::SeqCst};
use crate::time::{Duration, Instant, Micros, Timeout};

/// How many answers the queue of a server holds.
const QUEUE: u32 = 128;
/// The smallest weight that a server can have.
const FLOOR: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// How long a server must have had no error before it is tried again.
const REST: Micros = Micros::from_secs(2);
/// The bit of [`LaStats::average`] that is set once the throughput of the server is known.
const KNOWN: u32 = 1 << 31;
/// How many errors in a row it takes until a server is out, that is, until it has the smallest weight.
const IN_A_ROW: u64 = 3;
/// The smallest share, as a fraction (7/8), for a server that answers as fast as the others. It weighs at least this
/// share of what the others weigh.
const KEEPS: (u64, u64) = (7, 8);
/// The divisor for idle servers: an idle server weighs at least 1/20 of what the others weigh. So some calls show
/// whether it has become fast.
const TRIED: u64 = 20;
/// The divisor for the recent latency of a server: a new answer moves the recent latency by 1/4 of the difference
/// between its own latency and the recent latency.
const RECENT_FRACTION: u64 = 4;
/// The timeout that is used for an error in a call without a timeout.
const NO_TIMEOUT: Micros = Micros::from_secs(30);
/// How many times a feedback tries to lock the queue. If all tries fail, the feedback is dropped.
const TRIES: u32 = 64;

/// What `la` knows about one server, in 1080 bytes. The [module](super) says how the server's weight is computed from
/// this.
///
/// Threads share a value of this type through `&self`. The methods that change it return the new weight of the server,
/// and the caller must [`set`](super::LaTree::set) this weight in the tree. The argument `others` returns the values
/// that the server is compared with.
// What is read for each server when a list changes stands at the start, in one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct LaStats {
    /// The throughput divided by the average latency, before the server is compared with others.
    base: AtomicU64,
    /// The average latency in microseconds. The highest bit is [`KNOWN`].
    average: AtomicU32,
    /// True while a thread uses the last three fields. Another thread tries up to [`TRIES`] times to get this lock, and
    /// then gives up.
    locked: AtomicBool,
    /// An [`InFlight`] packed into a word.
    in_flight: AtomicU64,
    /// A [`LastError`] packed into a word. It is 0 if there was no error among the last 128 answers.
    error: AtomicU64,
    /// A [`TimedSpan`]. Its span is the recent latency: a moving average of the last few answers, which an abandoned
    /// attempt raises to its own age. Its instant says when an attempt was last abandoned.
    recent: AtomicU64,
    /// The index of the oldest answer (upper 16 bits), and how many answers there are (lower 16 bits).
    place: AtomicU32,
    /// The sum of the latencies of all answers without the oldest one.
    sum: AtomicU64,
    /// A ring buffer of answers. Each answer is a [`TimedSpan`] of its end and its latency.
    queue: [AtomicU64; QUEUE as usize],
}

/// The values that a server is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaOthers {
    /// The mean weight of the other servers; 0 if there are no others.
    pub weight: u64,
    /// The mean latency of the last answers of all servers; zero before the first answer.
    pub latency: Micros,
}

impl LaOthers {
    /// The values for the only server of a list. Such a server gets the weight that brpc would give it.
    pub const NONE: Self = Self { weight: 0, latency: Micros::ZERO };

    /// Returns the weight that a server with this recent latency should have. This is the mean weight of the other
    /// servers. If the server is slower than the average of all servers, this mean is multiplied by the square of
    /// (average latency / recent latency).
    fn fair_weight(self, recent: u64) -> u64 {
        let fleet = self.latency.as_micros();
        if fleet == 0 || recent <= fleet {
            return self.weight;
        }
        scaled(scaled(self.weight, fleet, recent), fleet, recent)
    }
}

/// The data that determine how much an error costs, in addition to the latency of the failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaFailure {
    /// How many retries the call may make.
    pub max_retry: u32,
    /// How many retries the call had made before this attempt.
    pub retried: u32,
    /// The call's timeout.
    pub timeout: Timeout,
}

impl LaStats {
    /// The scale of weights: the weight of a server that gives one answer a second, each in a microsecond. The first
    /// server of a list has this weight until it has answered.
    pub const SCALE: u64 = 1_008_680_231;

    /// Makes the statistics of a server that has not answered yet. Until its first answer, the server weighs `weight`,
    /// but no more than the average of the others.
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

    /// Returns the present weight of the server.
    pub fn weight(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let in_flight = InFlight(self.in_flight.load(SeqCst));
        self.current_weight(now, in_flight, in_flight.count() == 0, others)
    }

    /// Records that an attempt starts. Returns the weight without this attempt. An idle server normally has a minimum
    /// weight, so that it is tried sometimes. This minimum does not apply to the result, since the server is being
    /// tried now.
    pub fn started(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let before = InFlight(self.in_flight.fetch_add(InFlight::one(now), Relaxed));
        self.current_weight(now, before, false, others)
    }

    /// Records that an attempt that started at `begin` has succeeded at `now`. Returns the new weight. Returns `None`
    /// if the weight does not change, for example because the attempt took no time or another thread held the lock.
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

    /// Records that an attempt that started at `begin` has failed at `now`. Returns the new weight. Returns `None` if
    /// the weight does not change.
    pub fn failed(
        &self,
        now: Instant,
        begin: Instant,
        failure: LaFailure,
        others: impl FnOnce() -> LaOthers,
    ) -> Option<u64> {
        self.ended(begin);
        // A coarse clock may measure a time of zero for a fast failure.
        let latency = now.micros_since(begin).max(Micros::from_micros(1));
        let queue = self.lock()?;
        queue.add_error(now, failure.charged_latency(latency), failure.timeout());
        queue.update_base(now)?;
        drop(queue);
        Some(self.weight(now, others))
    }

    /// Records that an attempt that started at `begin` was abandoned at `now`. The attempt's age is a lower bound of
    /// the latency that it would have had ([L13](crate::rules#L13)). Returns the new weight.
    pub fn abandoned(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.ended(begin);
        let word = self.error.load(SeqCst);
        if let Some(error) = LastError::of(word).filter(|error| error.answers() == 0 && error.rested(now)) {
            // This attempt tried the server after the server's rest, so the rest begins again. If another thread has
            // changed the word since it was read, the other thread's value stays.
            let _ = self.error.compare_exchange(word, error.at(now).word(), SeqCst, SeqCst);
        }
        let age = now.micros_since(begin);
        let recent = TimedSpan::of(self.recent.load(SeqCst)).span();
        self.recent.store(TimedSpan::new(now, recent.max(age)).word(), Relaxed);
        if age >= self.latency_micros()
            && let Some(queue) = self.lock()
        {
            // If no answers come, the throughput falls.
            queue.update_base(now);
        }
        self.weight(now, others)
    }

    /// Records that an attempt that started at `begin` has ended at `now`, and that its end says nothing about the
    /// server ([S7](crate::rules#S7)). Returns the new weight.
    pub fn withdrawn(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.ended(begin);
        self.weight(now, others)
    }

    /// Returns how many attempts are in flight at the server.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        InFlight(self.in_flight.load(SeqCst)).count()
    }

    /// Returns the throughput divided by the average latency. This is the weight without three later steps: the
    /// comparison with other servers, the attempts in flight, and the smallest weight.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.load(SeqCst)
    }

    /// Returns the average latency of the answers. Returns zero before the first answer.
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
            // The server is the only one, so it gets brpc's weight.
            _ if others.weight == 0 => self.base(),
            None => self.weight_among_others(now, others, average, idle),
            Some(error) if error.rested(now) && error.answers() > 0 => {
                self.weight_among_others(now, others, average, idle)
            }
            // The server has rested, so one call may try it.
            Some(error) if error.rested(now) && idle => self.base().max(others.weight),
            Some(error) if error.is_out() => FLOOR,
            Some(_) => self.base(),
        };
        let age = in_flight.mean_age(now);
        // Attempts that have been in flight for longer than 1.5 average latencies lower the weight in proportion.
        if bound == 0 || age < bound {
            return base.max(FLOOR);
        }
        scaled(base, bound, age).max(FLOOR)
    }

    /// Returns the weight of a server, computed from its own latencies and from the weights of the other servers. Call
    /// this only if the server had no error, or if its last error no longer reduces its weight.
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
        // The queue of answers does not show yet how slow the server has become.
        let base = if late { scaled(self.base(), average, recent.span().as_micros()) } else { self.base() };
        base.max(scaled(fair_weight, KEEPS.0, KEEPS.1)).max(tried)
    }

    fn ended(&self, begin: Instant) {
        self.in_flight.fetch_sub(InFlight::one(begin), Relaxed);
    }

    /// Locks the queue. Returns `None` if other threads hold the lock at every try.
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
    /// Returns the latency that is recorded for a failed attempt. This is a weighted mean of two values. The first
    /// value is 1.2 times the latency of the attempt; its weight is the number of retries that are left. The second
    /// value is the timeout; its weight is the number of retries that were made.
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

/// Returns `weight * part / whole`. `part` must be at most `whole`. If the product would overflow, the division is done
/// first, which is less exact.
fn scaled(weight: u64, part: u64, whole: u64) -> u64 {
    let product = weight.checked_mul(part).and_then(|product| product.checked_div(whole));
    product.unwrap_or_else(|| weight.checked_div(whole).unwrap_or(weight).saturating_mul(part))
}

/// The queue while it is locked. Dropping this value unlocks the queue.
struct Locked<'a>(&'a LaStats);

impl Locked<'_> {
    /// Appends an answer. If the queue is full, the oldest answer is dropped.
    fn push(&self, now: Instant, latency: Micros) {
        let (mut oldest, mut len) = self.place();
        // The latency of the oldest answer is not part of the sum, because the throughput counts the answers after the
        // end of the oldest one.
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

    /// Moves the recent latency towards the latency of a new answer.
    fn update_recent(&self, latency: Micros) {
        let recent = TimedSpan::of(self.0.recent.load(SeqCst));
        let to = match recent.span() {
            Micros::ZERO => latency,
            // The answer took less than half of the recent latency, so the server has recovered. The recent latency
            // moves half of the way, so that a few answers suffice.
            more if more > latency + latency => Micros::from_micros((more + latency).as_micros() / 2),
            more if more > latency => {
                more - Micros::from_micros((more - latency).as_micros().div_ceil(RECENT_FRACTION))
            }
            less => less + Micros::from_micros((latency - less).as_micros() / RECENT_FRACTION),
        };
        // This may undo a raise that another thread has just made. The next abandoned attempt at the server raises the
        // latency again.
        self.0.recent.store(recent.with(to).word(), Relaxed);
    }

    /// Records an error: adds latency to the last answer. If there is no answer yet, the error itself becomes an
    /// answer, with a latency of at least the timeout.
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

    /// Computes the base weight from the queue. Returns `None` if the weight does not change.
    fn update_base(&self, now: Instant) -> Option<()> {
        let (oldest, len) = self.place();
        let oldest = if len > 0 { self.answer(oldest) } else { return None };
        let span = oldest.age(now).as_micros();
        let average = match (span, len) {
            (0, 1) => oldest.span().as_micros(),
            // All answers ended in one microsecond, or the clock went back.
            (0, _) => return None,
            _ => self.0.sum.load(SeqCst).checked_div(u64::from(len.saturating_sub(1)))?,
        };
        let known = len == QUEUE || span >= SECOND;
        let answers = if known { u64::from(len.saturating_sub(1)) * SECOND } else { 0 };
        // The throughput counts as at least one answer a second. An unknown throughput counts as one answer a second
        // too.
        let throughput = (answers * LaStats::SCALE / span.max(1)).max(LaStats::SCALE);
        self.0.base.store(throughput.checked_div(average)?, Relaxed);
        let average = u32::try_from(average).unwrap_or(0);
        self.0.average.store(if known { average | KNOWN } else { average }, Relaxed);
        Some(())
    }

    /// Returns the index of the oldest answer, and how many answers there are.
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

/// The content of [`LaStats::error`]: when the last error was, how many errors came in a row, and how many answers
/// followed. As a word it is a [`TimedSpan`] whose span is `history`.
#[derive(Clone, Copy)]
struct LastError {
    at: TimedSpan,
    /// A counter with two meanings. Up to 3, it is the number of errors in a row, with no answer after the last one.
    /// Above 3, it is 3 plus the number of answers since the last error.
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

    /// Returns the state after one more error, which happens at `now`.
    fn following(last: Option<Self>, now: Instant) -> Self {
        let in_a_row = last.filter(|last| last.answers() == 0).map_or(0, |last| last.history);
        Self { at: TimedSpan::new(now, Micros::ZERO), history: (in_a_row + 1).min(IN_A_ROW) }
    }

    fn at(self, now: Instant) -> Self {
        Self { at: TimedSpan::new(now, Micros::ZERO), ..self }
    }

    /// Returns the state after one more answer. Returns `None` once the error is no longer among the answers of the
    /// queue.
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

/// The attempts in flight, packed into one word. The lower 18 bits are their count. The upper bits are the sum of their
/// starts, modulo 2^46. So the start of an attempt is one addition, its end is one subtraction, and one load gives the
/// mean age. Up to 262,143 attempts can be in flight, and the sum of their ages may be up to 2^45 us (13 months).
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

    /// Returns the mean age of the attempts in microseconds, rounded up.
    fn mean_age(self, now: Instant) -> u64 {
        let count = u64::from(self.count());
        if count == 0 {
            return 0;
        }
        let ages = count.wrapping_mul(now.as_micros()).wrapping_sub(self.0 >> Self::COUNT_BITS) & Self::SUM_MASK;
        // The sum of ages can be negative, since a thread's clock reading may be slightly old.
        if ages > Self::SUM_MASK / 2 { 0 } else { ages.div_ceil(count) }
    }
}

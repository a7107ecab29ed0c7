//! What `la` knows of one server.

use core::hint::spin_loop;

use super::super::stamped::Stamped;
use crate::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed, Ordering::SeqCst};
use crate::time::{Duration, Instant, Timeout};

/// How many answers the queue holds.
const QUEUE: u32 = 128;
/// No weight is less.
const FLOOR: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// A server is tried again after so long without an error.
const REST: Duration = Duration::from_secs(2);
/// Whether the throughput is known, beside an average latency.
const KNOWN: u32 = 1 << 31;
/// So many errors in a row, and a server is out.
const IN_A_ROW: u64 = 3;
/// A server that answers as soon as the others weighs at least this part of what they do.
const KEEPS: (u64, u64) = (7, 8);
/// One that has nothing to do weighs at least this part, so that it is seen when it has become quick.
const TRIED: u64 = 20;
/// How many answers what a server has lately taken is of.
const LATELY: u64 = 4;
/// What an error counts under no timeout.
const NO_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a feedback tries to get the queue before it gives up.
const TRIES: u32 = 64;

/// What `la` knows of one server: 1080 bytes. What it makes a weight of stands at the [module](super).
///
/// Shared by threads through `&self`. Methods answer the weight to [`set`](super::LaTree::set). `others` is what there is to
/// compare a server with.
#[derive(Debug)]
pub struct LaStats {
    /// Throughput over average latency.
    base: AtomicU64,
    in_flight: AtomicU64,
    /// A [`LastError`]; 0 if there is none among the last 128 answers.
    error: AtomicU64,
    /// The average latency, in microseconds, below; whether the throughput is known, in the topmost bit.
    average: AtomicU32,
    /// The latency of the last few answers, raised to the age of attempts that were abandoned, and when the last of those was.
    lately: AtomicU64,
    /// Whether somebody is at what follows.
    taken: AtomicBool,
    /// Where the oldest answer is, above, and how many there are, in the lower 16 bits.
    place: AtomicU32,
    /// The latencies of all answers but the oldest.
    sum: AtomicU64,
    /// Latencies and ends.
    queue: [AtomicU64; QUEUE as usize],
}

/// What a server is held against.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaOthers {
    /// What the others weigh on average; 0 if there are none.
    pub weight: u64,
    /// The latency of the fleet's last answers; zero before the first.
    pub latency: Duration,
}

impl LaOthers {
    /// That a server is alone: then it weighs what brpc has it weigh.
    pub const NONE: Self = Self { weight: 0, latency: Duration::ZERO };

    /// What a server deserves that has lately taken so long: what the others weigh, but for the square of how much longer it
    /// takes than they do.
    fn deserved(self, lately: u64) -> u64 {
        let fleet = self.latency.as_micros();
        if fleet == 0 || lately <= fleet {
            return self.weight;
        }
        scaled(scaled(self.weight, fleet, lately), fleet, lately)
    }
}

/// What else there is to an error.
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
    /// One answer a second of a microsecond weighs so much. It is what the first of all servers weighs until it has
    /// answered.
    pub const SCALE: u64 = 1_008_680_231;

    /// Those of a server that has not answered yet; until then it weighs so much, but no more than the others on average.
    #[must_use]
    pub const fn new(weight: u64) -> Self {
        Self {
            base: AtomicU64::new(weight),
            in_flight: AtomicU64::new(0),
            error: AtomicU64::new(0),
            average: AtomicU32::new(0),
            lately: AtomicU64::new(0),
            taken: AtomicBool::new(false),
            place: AtomicU32::new(0),
            sum: AtomicU64::new(0),
            queue: [const { AtomicU64::new(0) }; QUEUE as usize],
        }
    }

    /// What it weighs now.
    pub fn weight(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let in_flight = InFlight(self.in_flight.load(SeqCst));
        self.weighed(now, in_flight, in_flight.count() == 0, others)
    }

    /// An attempt starts. Answers the weight before it, but for a server that is being tried: that weighs what it did before
    /// the try.
    pub fn started(&self, now: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        let before = InFlight(self.in_flight.fetch_add(InFlight::one(now), Relaxed));
        self.weighed(now, before, false, others)
    }

    /// An attempt that started at `begin` has succeeded now. `None` if that says nothing: it took no time.
    pub fn succeeded(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> Option<u64> {
        self.left(begin);
        let latency = now.since(begin);
        if latency == Duration::ZERO {
            return None;
        }
        let queue = self.take()?;
        queue.push(now, latency);
        queue.heard(latency);
        queue.weigh(now)?;
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
        self.left(begin);
        // On a coarse clock who fails fast takes no time.
        let latency = now.since(begin).max(Duration::from_micros(1));
        let queue = self.take()?;
        queue.lengthen(now, failure.counts(latency), failure.timeout());
        queue.weigh(now)?;
        drop(queue);
        Some(self.weight(now, others))
    }

    /// An attempt that started at `begin` has been abandoned now: its latency is not known, but was not below its age (L13).
    pub fn abandoned(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.left(begin);
        let word = self.error.load(SeqCst);
        if let Some(error) = LastError::of(word).filter(|error| error.answers() == 0 && error.rested(now)) {
            // It was a try. Whoever changed the word since knows more.
            let _ = self.error.compare_exchange(word, error.at(now).word(), SeqCst, SeqCst);
        }
        let age = now.since(begin);
        let lately = Stamped::of(self.lately.load(SeqCst)).span();
        self.lately.store(Stamped::new(now, lately.max(age)).word(), Relaxed);
        if age >= self.latency()
            && let Some(queue) = self.take()
        {
            // Answers that do not come leave the throughput behind.
            queue.weigh(now);
        }
        self.weight(now, others)
    }

    /// An attempt that started at `begin` is over now, and says nothing of the server (S7).
    pub fn withdrawn(&self, now: Instant, begin: Instant, others: impl FnOnce() -> LaOthers) -> u64 {
        self.left(begin);
        self.weight(now, others)
    }

    /// How many attempts are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        InFlight(self.in_flight.load(SeqCst)).count()
    }

    /// The weight but for what is in flight, and for the floor.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.load(SeqCst)
    }

    /// The average latency; zero before the first answer.
    #[must_use]
    pub fn latency(&self) -> Duration {
        Duration::from_micros((self.average.load(Relaxed) & !KNOWN).into())
    }

    fn weighed(&self, now: Instant, in_flight: InFlight, idle: bool, others: impl FnOnce() -> LaOthers) -> u64 {
        let average = self.average.load(Relaxed);
        let bound = u64::from(average & !KNOWN) * 3 / 2;
        let others = others();
        let base = match LastError::of(self.error.load(SeqCst)) {
            // It is alone.
            _ if others.weight == 0 => self.base(),
            None => self.beside(now, others, average, idle),
            Some(error) if error.rested(now) && error.answers() > 0 => self.beside(now, others, average, idle),
            // One goes and tries.
            Some(error) if error.rested(now) && idle => self.base().max(others.weight),
            Some(error) if error.is_out() => FLOOR,
            Some(_) => self.base(),
        };
        let age = in_flight.mean_age(now);
        if bound == 0 || age < bound {
            return base.max(FLOOR);
        }
        scaled(base, bound, age).max(FLOOR)
    }

    /// What a server without an error weighs beside others.
    fn beside(&self, now: Instant, others: LaOthers, average: u32, idle: bool) -> u64 {
        let lately = Stamped::of(self.lately.load(SeqCst));
        let (known, average) = (average & KNOWN != 0, u64::from(average & !KNOWN));
        let deserved = others.deserved(lately.span().as_micros());
        let tried = if idle && lately.age(now) >= REST { others.weight / TRIED } else { 0 };
        if average == 0 {
            return self.base().min(deserved).max(tried);
        }
        let late = lately.span().as_micros() >= 2 * average;
        if !known && !late {
            return self.base().max(others.weight);
        }
        // The queue does not tell yet.
        let base = if late { scaled(self.base(), average, lately.span().as_micros()) } else { self.base() };
        base.max(scaled(deserved, KEEPS.0, KEEPS.1)).max(tried)
    }

    fn left(&self, begin: Instant) {
        self.in_flight.fetch_sub(InFlight::one(begin), Relaxed);
    }

    /// The queue, unless others are at it all the time.
    fn take(&self) -> Option<Taken<'_>> {
        for _ in 0..TRIES {
            if !self.taken.swap(true, Ordering::Acquire) {
                return Some(Taken(self));
            }
            spin_loop();
        }
        None
    }
}

impl LaFailure {
    /// The latency that an attempt which failed after so long counts: with every retry that had been made before it, more
    /// of it is the timeout.
    fn counts(&self, latency: Duration) -> Duration {
        let (done, left) = match self.max_retry {
            0 => (1, 0),
            most => (u64::from(self.retried), u64::from(most.saturating_sub(self.retried))),
        };
        let longer = latency + Duration::from_micros(latency.as_micros() / 5);
        let sum =
            left.saturating_mul(longer.as_micros()).saturating_add(done.saturating_mul(self.timeout().as_micros()));
        Duration::from_micros(sum.checked_div(left + done).unwrap_or(0))
    }

    const fn timeout(&self) -> Duration {
        match self.timeout {
            Timeout::After(timeout) => timeout,
            Timeout::Never => NO_TIMEOUT,
        }
    }
}

/// A weight times `part`, divided by `whole`, which is more. Their product is less than 2^64 only as long as weights are in
/// measure.
fn scaled(weight: u64, part: u64, whole: u64) -> u64 {
    let product = weight.checked_mul(part).and_then(|product| product.checked_div(whole));
    product.unwrap_or_else(|| weight.checked_div(whole).unwrap_or(weight).saturating_mul(part))
}

/// The queue in the hands of one thread.
struct Taken<'a>(&'a LaStats);

impl Taken<'_> {
    /// An answer more, and perhaps the oldest one less.
    fn push(&self, now: Instant, latency: Duration) {
        let (mut oldest, mut len) = self.place();
        let mut sum = self.0.sum.load(SeqCst);
        if len == QUEUE {
            oldest = (oldest + 1) % QUEUE;
            len -= 1;
            sum = sum.wrapping_sub(self.answer(oldest).span().as_micros());
        }
        let answer = Stamped::new(now, latency);
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

    /// An answer took so long: what the server takes lately goes a part of the way there.
    fn heard(&self, latency: Duration) {
        let lately = Stamped::of(self.0.lately.load(SeqCst));
        let to = match lately.span() {
            Duration::ZERO => latency,
            // It has recovered: that is not to take as many answers as it took to be sure of the opposite.
            more if more > latency + latency => Duration::from_micros((more + latency).as_micros() / 2),
            more if more > latency => more - Duration::from_micros((more - latency).as_micros().div_ceil(LATELY)),
            less => less + Duration::from_micros((latency - less).as_micros() / LATELY),
        };
        // Whoever has raised it since will raise it again.
        self.0.lately.store(lately.with(to).word(), Relaxed);
    }

    /// An error: the last answer takes longer. Before the first, the error is one, of at least the timeout.
    fn lengthen(&self, now: Instant, by: Duration, timeout: Duration) {
        let (oldest, len) = self.place();
        let error = LastError::following(LastError::of(self.0.error.load(SeqCst)), now);
        if len == 0 {
            self.push(now, by.max(timeout));
        } else {
            let newest = (oldest + len - 1) % QUEUE;
            let was = self.answer(newest).span();
            let answer = Stamped::new(now, was + by);
            if len > 1 {
                let sum = self.0.sum.load(SeqCst);
                self.0.sum.store(sum.wrapping_add((answer.span() - was).as_micros()), Relaxed);
            }
            self.put(newest, answer);
        }
        self.0.error.store(error.word(), Relaxed);
    }

    /// Makes the weight of what is in the queue. `None` if it is left as it was.
    fn weigh(&self, now: Instant) -> Option<()> {
        let (oldest, len) = self.place();
        let oldest = if len > 0 { self.answer(oldest) } else { return None };
        let span = oldest.age(now).as_micros();
        let average = match (span, len) {
            (0, 1) => oldest.span().as_micros(),
            // All at once, or the clock went back.
            (0, _) => return None,
            _ => self.0.sum.load(SeqCst).checked_div(u64::from(len.saturating_sub(1)))?,
        };
        let known = len == QUEUE || span >= SECOND;
        let answers = if known { u64::from(len.saturating_sub(1)) * SECOND } else { 0 };
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

    fn answer(&self, index: u32) -> Stamped {
        Stamped::of(self.slot(index).map_or(0, |slot| slot.load(SeqCst)))
    }

    fn put(&self, index: u32, answer: Stamped) {
        if let Some(slot) = self.slot(index) {
            slot.store(answer.word(), Relaxed);
        }
    }

    fn slot(&self, index: u32) -> Option<&AtomicU64> {
        usize::try_from(index).ok().and_then(|index| self.0.queue.get(index))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

/// What [`LaStats::error`] holds: when the last error was, and what was heard since.
#[derive(Clone, Copy)]
struct LastError {
    at: Stamped,
    /// Up to 3: how many errors there were in a row, the last included, and no answer since. Above: 3 more than the answers
    /// since.
    heard: u64,
}

impl LastError {
    fn of(word: u64) -> Option<Self> {
        let at = Stamped::of(word);
        Some(at.span().as_micros()).filter(|heard| *heard > 0).map(|heard| Self { at, heard })
    }

    fn word(self) -> u64 {
        self.at.with(Duration::from_micros(self.heard)).word()
    }

    /// The last error, one now.
    fn following(last: Option<Self>, now: Instant) -> Self {
        let in_a_row = last.filter(|last| last.answers() == 0).map_or(0, |last| last.heard);
        Self { at: Stamped::new(now, Duration::ZERO), heard: (in_a_row + 1).min(IN_A_ROW) }
    }

    fn at(self, now: Instant) -> Self {
        Self { at: Stamped::new(now, Duration::ZERO), ..self }
    }

    /// The same after one answer more; it is forgotten when it has left the queue.
    fn answered(self) -> Option<Self> {
        let answers = self.answers() + 1;
        (answers < QUEUE.into()).then_some(Self { heard: IN_A_ROW + answers, ..self })
    }

    const fn answers(self) -> u64 {
        self.heard.saturating_sub(IN_A_ROW)
    }

    const fn is_out(self) -> bool {
        self.heard == IN_A_ROW
    }

    fn rested(self, now: Instant) -> bool {
        self.at.age(now) >= REST
    }
}

/// The attempts in flight: their count in the lower bits, and above it the sum of their begins, modulo what is left for it.
/// 262,143 attempts can be in flight, of 2^45 us (13 months) together.
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

    /// How long they have been in flight on average, in microseconds, rounded up: the mean of their begins is rounded down.
    fn mean_age(self, now: Instant) -> u64 {
        let count = u64::from(self.count());
        if count == 0 {
            return 0;
        }
        let ages = count.wrapping_mul(now.as_micros()).wrapping_sub(self.0 >> Self::COUNT_BITS) & Self::SUM_MASK;
        // A negative sum is of threads that are a little late.
        if ages > Self::SUM_MASK / 2 { 0 } else { ages.div_ceil(count) }
    }
}

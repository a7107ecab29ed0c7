//! What a sliding count shares: the latest bucket with the total, and where the others began.

use hedge_core::time::{Duration, Instant};
use loom::sync::Arc;

use super::NOW;
use crate::bounded::BoundedSpan;
use crate::check::{check, check_long, together};
use crate::window::SlidingCount;

pub(super) fn all() {
    buckets();
    rounds();
    skipped();
    steps_back();
    lifetimes();
    copies();
}

type Count = SlidingCount<4>;

/// In the bucket after that of [`NOW`], and in the one after that.
const NEXT: Instant = Instant::from_millis(600);
const AFTER_NEXT: Instant = Instant::from_millis(800);
/// In the place of [`NOW`], a round of the four buckets later, and in that of [`NEXT`].
const NEXT_ROUND: Instant = Instant::from_millis(1_400);
const NEXT_IN_NEXT_ROUND: Instant = Instant::from_millis(1_900);
/// When the window begins with the bucket of [`NEXT`].
const FROM_NEXT: Instant = Instant::from_millis(1_500);

fn plain() -> Count {
    let count = SlidingCount::new(BoundedSpan::of_secs::<1>());
    assert_eq!(count.bucket(), Duration::from_micros(333_461), "a third of a second");
    count
}

fn count() -> Arc<Count> {
    Arc::new(plain())
}

/// One to which so many were added at [`NOW`].
fn holding(n: u32) -> Arc<Count> {
    let count = plain();
    count.add(NOW, n);
    Arc::new(count)
}

fn buckets() {
    check("window: what two add to a bucket is counted", || {
        let count = count();
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NOW, 2)]);
        assert_eq!(count.covering(NOW), 3);
    });
    check("window: what two add to neighbouring buckets is counted", || {
        let count = count();
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NEXT, 2)]);
        assert_eq!(count.covering(NEXT), 3);
    });
    check("window: a bucket that two begin while the one before is added to keeps what is its own", || {
        let count = holding(10);
        let next = |count: &Count| {
            count.add(NEXT, 1);
            None
        };
        let adds_before = |count: &Count| {
            count.add(NOW, 4);
            Some(count.covering(FROM_NEXT))
        };
        let seen = together(&count, [next, next, adds_before]);
        let kept = count.covering(FROM_NEXT);
        // Who came late counts in it. Who found it not begun yet did not come late.
        assert!(kept == 2 || kept == 6 && !seen.contains(&Some(0)), "{kept}, then {seen:?}");
    });
    check("window: who is refused a bucket leaves the one before as it was", || {
        let count = holding(1);
        let asks = |count: &Count| {
            count.add_if(NEXT, 1, |there| there < 2);
        };
        together(&count, [asks, |count| count.add(NOW, 2)]);
        let kept = count.covering(NEXT);
        assert!(kept == 3 || kept == 4, "{kept}");
        assert!(count.inside(FROM_NEXT) <= 3);
    });
}

fn rounds() {
    check("window: a bucket that is taken over loses nothing of its new round", || {
        let count = holding(40);
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NEXT_ROUND, 2)]);
        // Who comes late is counted in the later round, or has been forgotten with its own.
        assert!([2, 3].contains(&count.covering(NEXT_ROUND)));
    });
    check("window: two who take over a bucket forget its past once", || {
        let count = holding(40);
        together(&count, [|count| count.add(NEXT_ROUND, 1), |count| count.add(NEXT_ROUND, 2)]);
        assert_eq!(count.covering(NEXT_ROUND), 3);
    });
    check("window: who counts while a bucket is taken over sees nothing of its past", || {
        let count = holding(40);
        let add = |count: &Count| {
            count.add(NEXT_ROUND, 1);
            0
        };
        let seen = together(&count, [add, |count| count.covering(NEXT_ROUND)]);
        assert!(seen.iter().all(|seen| *seen <= 1));
    });
    check("window: nobody waits for who begins the same place a round later", || {
        let count = holding(40);
        together(&count, [|count| count.add(NEXT, 1), |count| count.add(NEXT_IN_NEXT_ROUND, 2)]);
        assert!([2, 3].contains(&count.covering(NEXT_IN_NEXT_ROUND)));
    });
    check_long("window: nor does that one lose where it began, while the latest is added to", || {
        let count = holding(40);
        let later = |count: &Count| count.add(NEXT_IN_NEXT_ROUND, 2);
        together(&count, [|count| count.add(NEXT, 1), later, |count| count.add(NOW, 4)]);
        assert!([2, 3, 6, 7].contains(&count.covering(NEXT_IN_NEXT_ROUND)));
    });
}

fn skipped() {
    check("window: who skips a bucket that another begins leaves it", || {
        let count = holding(10);
        together(&count, [|count| count.add(NEXT, 1), |count| count.add(AFTER_NEXT, 2)]);
        assert_eq!(count.covering(FROM_NEXT), 3);
    });
    check_long("window: nor does it while the one before is added to", || {
        let count = holding(10);
        let skips = |count: &Count| count.add(AFTER_NEXT, 2);
        together(&count, [|count| count.add(NEXT, 1), skips, |count| count.add(NOW, 4)]);
        assert!([3, 7].contains(&count.covering(FROM_NEXT)));
    });
}

fn steps_back() {
    /// So much later that who is at [`NOW`] is not late any more.
    const FAR: Instant = Instant::from_millis(20_000);
    const NEXT_TO_FAR: Instant = Instant::from_millis(20_200);
    const FROM_FAR: Instant = Instant::from_millis(20_900);
    check("window: two whose clock has gone back forget once", || {
        let count = holding(1);
        count.add(FAR, 40);
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NOW, 2)]);
        assert_eq!(count.covering(NOW), 3);
    });
    check("window: what began while the clock went back is forgotten when the clock is there again", || {
        let count = holding(1);
        count.add(FAR, 40);
        together(&count, [|count| count.add(NOW, 1), |count| count.add(NEXT_TO_FAR, 2)]);
        assert!([(1, 0), (0, 2)].contains(&(count.covering(NOW), count.covering(NEXT_TO_FAR))));
        count.add(NOW, 4);
        count.add(FROM_FAR, 8);
        assert_eq!((count.covering(FROM_FAR), count.inside(FROM_FAR)), (8, 8));
    });
}

fn lifetimes() {
    fn holding_all(n: u32) -> Arc<Count> {
        let count = plain();
        count.add(NOW, n);
        Arc::new(count)
    }
    check("window: of all that ever were nothing is lost when two begin a bucket", || {
        let count = holding_all(40);
        together(&count, [|count| count.add(NEXT, 1), |count| count.add(NEXT, 2)]);
        assert_eq!(count.ever_at(count.scaled(NOW)), 43);
    });
    check("window: nor when its place is taken over", || {
        let count = holding_all(40);
        together(&count, [|count| count.add(NEXT_ROUND, 1), |count| count.add(NEXT_ROUND, 2)]);
        assert_eq!(count.ever_at(count.scaled(NOW)), 43);
    });
    check("window: nor when one begins it and another a later one, and nobody sees less on the way", || {
        let count = holding_all(40);
        let adds = |count: &Count| {
            count.add(NEXT, 1);
            count.ever_at(count.scaled(NOW))
        };
        let later = |count: &Count| {
            count.add(NEXT_ROUND, 2);
            count.ever_at(count.scaled(NOW))
        };
        let seen = together(&count, [adds, later]);
        assert!(seen.contains(&43) && seen.iter().zip([41, 42]).all(|(seen, least)| [least, 43].contains(seen)));
        assert_eq!(count.ever_at(count.scaled(NOW)), 43);
    });
    check_long("window: nor to who looks while two begin one bucket after the other", || {
        let count = holding_all(40);
        let look = |count: &Count| {
            let first = count.ever_at(count.scaled(NOW));
            let second = count.ever_at(count.scaled(NOW));
            assert!(40 <= first && first <= second && second <= 43, "{first}, {second}");
        };
        together(&count, [|count| count.add(NEXT, 1), |count| count.add(AFTER_NEXT, 2), look]);
        assert_eq!(count.ever_at(count.scaled(NOW)), 43);
    });
}

fn copies() {
    /// What a copy covers, what it covers with one more in the bucket after, and all that ever were. The copy is made while
    /// others add.
    fn copied(count: &Count) -> Option<[u64; 3]> {
        let copy = count.copy();
        let (before, ever) = (copy.covering(NEXT), copy.ever_at(copy.scaled(NEXT)));
        copy.add(AFTER_NEXT, 1);
        Some([before, copy.covering(AFTER_NEXT), ever])
    }
    fn adds(count: &Count, at: Instant) -> Option<[u64; 3]> {
        count.add(at, 4);
        None
    }
    check("window: a copy has all from before, and what is added meanwhile or not", || {
        let count = holding(10);
        let seen = together(&count, [copied, |count| adds(count, NOW)]);
        assert!(seen.contains(&Some([10, 11, 10])) || seen.contains(&Some([14, 15, 14])), "{seen:?}");
        assert_eq!(count.covering(NEXT), 14);
    });
    check("window: nor does a bucket that begins meanwhile confuse it", || {
        let count = holding(10);
        let seen = together(&count, [copied, |count| adds(count, NEXT)]);
        assert!(seen.contains(&Some([10, 11, 10])) || seen.contains(&Some([14, 15, 14])), "{seen:?}");
    });
    check("window: nor one of the next round in the place of its latest", || {
        let count = holding(10);
        let seen = together(&count, [copied, |count| adds(count, NEXT_ROUND)]);
        // If the copy has it, what was before is forgotten.
        assert!(seen.contains(&Some([10, 11, 10])) || seen.contains(&Some([4, 5, 14])), "{seen:?}");
    });
}

//! The core alone, driven by hand, in units of one uncontended atomic add.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use hedge_core::balance::RoundRobin;
use hedge_core::policy::CallOptions;
use hedge_core::time::Instant;
use hedge_instructions::{Line, by_hand};

use crate::harness::Contender;
use crate::harness::Target::{AtMost, NoAllocation};

const FLOOR: &str = "one atomic add";
const NOW: Instant = Instant::from_millis(1);

pub(crate) fn contenders<'a>(
    plain: &'a Line<RoundRobin>,
    hedged: &'a Line<RoundRobin>,
    options: &'a CallOptions<'a>,
    counter: &'a AtomicU64,
) -> Vec<Contender<'a>> {
    vec![
        Contender::new(FLOOR, FLOOR, move || {
            black_box(black_box(counter).fetch_add(1, Ordering::Relaxed));
            true
        }),
        Contender::new("core: plain call", FLOOR, move || by_hand::plain(black_box(plain), options, black_box(NOW)))
            .target(AtMost(8.0, FLOOR))
            .target(NoAllocation),
        Contender::new("core: plain call, backup armed", FLOOR, move || {
            by_hand::plain(black_box(hedged), options, black_box(NOW))
        })
        .target(AtMost(8.0, FLOOR))
        .target(NoAllocation),
        Contender::new("core: backup wins", FLOOR, move || {
            by_hand::backup_wins(black_box(hedged), options, black_box(NOW))
        })
        .target(AtMost(16.0, FLOOR))
        .target(NoAllocation),
        Contender::new("core: retry after a failure", FLOOR, move || {
            by_hand::retry(black_box(plain), options, black_box(NOW))
        })
        .target(NoAllocation),
    ]
}

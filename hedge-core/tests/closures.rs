//! Options may be filled up from others inside a closure. rustc fails at such a closure if a bound in the type of a field is
//! not a literal, and then this file does not compile.

use hedge_core::balance::prequal::PrequalOptions;
use hedge_core::bounded::{Bounded, BoundedSpan};
use hedge_core::health::{CheckOptions, FailureOptions, IsolationOptions, RecoveryOptions};
use hedge_core::limit::{BudgetOptions, RatioMode, RatioOptions};
use hedge_core::policy::{AdaptiveOptions, Target};

#[test]
fn options_are_filled_up_in_closures() {
    let (ratio, budget) = (RatioOptions::DEFAULT, BudgetOptions::DEFAULT);
    let limits = || {
        let cached = RatioOptions { mode: RatioMode::Cached, ..ratio };
        (cached, BudgetOptions { burst: Bounded::of::<2>(), ..budget })
    };
    assert_eq!((limits().0.burst, limits().1.share), (ratio.burst, budget.share));

    let (check, failures) = (CheckOptions::DEFAULT, FailureOptions::DEFAULT);
    let isolation = IsolationOptions::DEFAULT;
    let health = || {
        let check = CheckOptions { application: true, ..check };
        let isolation = IsolationOptions { probes: Bounded::of::<2>(), ..isolation };
        (check, FailureOptions { isolation, ..failures })
    };
    assert_eq!((health().0.interval, health().1.failures), (check.interval, failures.failures));

    let (adaptive, prequal) = (AdaptiveOptions::DEFAULT, PrequalOptions::DEFAULT);
    let delays = |target: Target| {
        let prequal = PrequalOptions { rif_quantile_permille: Bounded::of::<600>(), ..prequal };
        (AdaptiveOptions { target, ..adaptive }, prequal)
    };
    let made = delays(adaptive.target);
    assert_eq!((made.0.warm_up, made.1.min_probes), (adaptive.warm_up, prequal.min_probes));

    let recovery = RecoveryOptions { min_working: Bounded::of::<2>(), hold: BoundedSpan::of_secs::<1>() };
    let fewer = || RecoveryOptions { min_working: Bounded::of::<1>(), ..recovery };
    assert_eq!(fewer().hold, recovery.hold);
}

//! What an adaptive delay's backups draw on.

use loom::sync::Arc;

use crate::allowance::Allowance;
use crate::check::{check, together};

pub(super) fn all() {
    check("allowance: two who draw the last get it once, and what is paid meanwhile is there", || {
        let allowance = Arc::new(Allowance::new(1, 600_000));
        let drawn = together(&allowance, [Allowance::draw, Allowance::draw, paid]);
        assert_eq!(drawn.iter().filter(|drawn| **drawn).count(), 2, "one, and the payment");
        assert!(!allowance.draw());
        allowance.pay();
        // A payment before the first draw met a full account.
        let left = allowance.draw();
        assert!(!left || !allowance.draw());
    });
    check("allowance: what is given back is there for another", || {
        let allowance = Arc::new(Allowance::new(1, 0));
        let tries = |allowance: &Allowance| allowance.draw().then(|| allowance.give_back()).is_some();
        let drawn = together(&allowance, [tries, tries]);
        assert!(drawn.contains(&true));
        assert!(allowance.draw() && !allowance.draw());
    });
}

fn paid(allowance: &Allowance) -> bool {
    allowance.pay();
    true
}

//! What peers answer in the scenarios that hedge is for, beside hedge-tower, in one run.
//!
//! Every scenario is a script of servers in tokio's paused time, so a run takes no time and is the same each time. Each
//! contender gets the same script, a hedge delay of 50 ms where it is about hedging, and nothing else of its own; where it is
//! about the choice of a server, a call is one attempt. What the peers answer is printed as it was measured; what hedge-tower
//! answers is held against what is wanted.

mod contenders;
mod outage;
mod script;
mod spread;
mod table;

pub use contenders::Contender;
pub use table::{Cell, Table, versions};

use hedge_core::limit::{BudgetOptions, LimitOptions, RatioMode, RatioOptions, TokenOptions};

use outage::{Bound, Outage};
use script::{Outcome, Step};
use spread::Shares;

/// When a slow call is sent again.
const DELAY_MS: u64 = 50;

/// Runs every scenario; must be called in a runtime whose time is paused.
pub async fn run() -> Table {
    let mut table = Table::new();
    let backup_fails = [Step::Ok(200), Step::Fail(1)];
    hedge(&mut table, "first ok at 200 ms, backup fails 1 ms after it is sent", &backup_fails, Outcome::Ok(200)).await;
    let first_fails = [Step::Fail(1), Step::Ok(5)];
    hedge(&mut table, "first fails at 1 ms, another would answer in 5", &first_fails, Outcome::Ok(6)).await;
    let backup_in_flight = [Step::Fail(60), Step::Ok(30), Step::Ok(1_000)];
    hedge(&mut table, "first fails at 60, backup in flight ok at 80, a third slow", &backup_in_flight, Outcome::Ok(80))
        .await;

    outages(&mut table).await;

    balancers(&mut table).await;

    let granted = spread::retry_budgets().map(|granted| format!("{granted:.2}")).join(", ");
    let own = spread::own_retry_budgets();
    let text = own.map(|granted| format!("{granted:.2}")).join(", ");
    let exact = own == [0.6, 0.7, 0.9];
    let cells = vec![Cell::Measured(granted), Cell::Nothing, Cell::Checked(text, exact)];
    table.row("retry budget asked for 0.6, 0.7, 0.9", cells, "exact".into());
    table
}

/// Every server slow, and every server failing: what is sent of a thousand and of a hundred thousand calls, with what is on
/// unless said otherwise and, for ours, under each limit alone.
async fn outages(table: &mut Table) {
    for (scenario, outage, calls) in [
        ("every server slow, 1,000 calls", Outage::Slow, 1_000),
        ("every server slow, 100,000 calls", Outage::Slow, 100_000),
        ("every server failing, 1,000 calls", Outage::Failing, 1_000),
        ("every server failing, 100,000 calls", Outage::Failing, 100_000),
    ] {
        let mut cells = Vec::new();
        for peer in [Contender::Tower, Contender::TowerResilience] {
            let sent = outage::run(peer, LimitOptions::NONE, outage, calls).await;
            cells.push(Cell::Measured(format!("{} attempts", sent.attempts)));
        }
        let bound = if outage == Outage::Slow { Bound::Ratio } else { Bound::Budget };
        own_outage(table, scenario, cells, LimitOptions::SAFE, (outage, calls), Some(bound)).await;

        let none = LimitOptions::NONE;
        let cached = RatioOptions { mode: RatioMode::Cached, ..RatioOptions::DEFAULT };
        let exact = LimitOptions { ratio: Some(RatioOptions::DEFAULT), ..none };
        let budget = LimitOptions { budget: Some(BudgetOptions::DEFAULT), ..none };
        for (scenario, limits, bound) in [
            // It counts backups, and of failing servers retries are what there is.
            ("  under the exact ratio alone", exact, (outage == Outage::Slow).then_some(Bound::Ratio)),
            ("  under the budget alone", budget, Some(Bound::Budget)),
            ("  under brpc's cached ratio", LimitOptions { ratio: Some(cached), ..none }, None),
            ("  under tRPC's tokens", LimitOptions { tokens: Some(TokenOptions::TRPC), ..none }, None),
        ] {
            own_outage(table, scenario, vec![Cell::Nothing, Cell::Nothing], limits, (outage, calls), bound).await;
        }
    }
}

/// A row of ours beside what the peers did, held against a bound where the rule has one.
async fn own_outage(
    table: &mut Table,
    scenario: &'static str,
    mut cells: Vec<Cell>,
    limits: LimitOptions,
    (outage, calls): (Outage, u32),
    bound: Option<Bound>,
) {
    let sent = outage::run(Contender::HedgeTower, limits, outage, calls).await;
    let text = format!("{} attempts", sent.attempts);
    let (cell, wanted) = match bound.map(|bound| sent.bound(bound, calls)) {
        Some(most) => (Cell::Checked(text, sent.within(most)), format!("at most {most:.0}")),
        None => (Cell::Measured(text), "no bound".into()),
    };
    cells.push(cell);
    table.row(scenario, cells, wanted);
}

/// One of ten servers failing fast, and recovering: where the calls go. Others have P2C only; ours must be right under each.
async fn balancers(table: &mut Table) {
    const P2C_SECONDS: usize = 10;
    const LA_SECONDS: usize = 30;
    let theirs = spread::tower_p2c(P2C_SECONDS).await;
    let own = match (spread::own("p2c", P2C_SECONDS).await, spread::own("la", LA_SECONDS).await) {
        (Ok(p2c), Ok(la)) => Ok([p2c, la]),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    };
    let mut row = |scenario, wanted: &str, share: fn(&Shares) -> f64, right: fn(f64) -> bool| {
        let own = match &own {
            Ok([p2c, la]) => {
                let (p2c, la) = (share(p2c), share(la));
                Cell::Checked(format!("{p2c:.1} %, la {la:.1} %"), right(p2c) && right(la))
            }
            Err(error) => Cell::Checked(error.clone(), false),
        };
        let theirs = Cell::Measured(format!("{:.1} %", share(&theirs)));
        table.row(scenario, vec![theirs, Cell::Nothing, own], wanted.into());
    };
    let scenario = "one of 10 servers fails in 1 ms: its share under P2C";
    row(scenario, "below 2 %", |shares| shares.failing, |share| share < 2.0);
    let scenario = "  10 s after it recovered (la: 30 s)";
    row(scenario, "at least 8 %", |shares| shares.recovered, |share| share >= 8.0);
}

async fn hedge(table: &mut Table, scenario: &'static str, steps: &[Step], wanted: Outcome) {
    let mut cells = Vec::new();
    for contender in Contender::ALL {
        let outcome = script::play(contender, steps).await;
        cells.push(match contender {
            Contender::HedgeTower => Cell::Checked(outcome.to_string(), outcome == wanted),
            _ => Cell::Measured(outcome.to_string()),
        });
    }
    table.row(scenario, cells, wanted.to_string());
}

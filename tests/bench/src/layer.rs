//! hedge-tower around the same service as its peers'.

use hedge_instructions::SERVERS;
use tokio::runtime::Runtime;
use tower::Layer;

use crate::clock::TokioClock;
use crate::driver::FLOOR;
use crate::harness::Contender;
use crate::harness::Target::AtMost;
use crate::peers::{DELAY, Slow, TIMEOUT, called};

pub(crate) fn contenders<'a>(
    runtime: &'a Runtime,
    clock: &'a TokioClock,
    below: &'static str,
) -> Result<Vec<Contender<'a>>, String> {
    let builder = || hedge_tower::builder(clock.clone()).timeout(TIMEOUT).backup(DELAY);
    let refused = |error| format!("hedge-tower: {error}");
    let mut one = builder().layer().map_err(refused)?.layer(Slow);
    let mut set = builder().seed(1).set().map_err(refused)?;
    for server in 0..SERVERS {
        set.insert(server, Slow).map_err(|error| format!("hedge-tower: {error}"))?;
    }
    Ok(vec![
        Contender::awaited("hedge-tower, one service", FLOOR, runtime, async move || called(&mut one).await)
            .target(AtMost(1.0, below))
            .counting_timers(|| clock.sleeps()),
        Contender::awaited("hedge-tower, a set of 16", FLOOR, runtime, async move || called(&mut set).await)
            .counting_timers(|| clock.sleeps()),
    ])
}

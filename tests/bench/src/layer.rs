//! hedge-tower around the same service as its peers'.

use hedge_instructions::SERVERS;
use tower::Layer;

use crate::clock::TokioClock;
use crate::driver::FLOOR;
use crate::harness::Contender;
use crate::harness::Target::AtMost;
use crate::peers::{DELAY, Slow, TIMEOUT, called};

pub(crate) fn contenders<'a>(clock: &'a TokioClock, below: &'static str) -> Result<Vec<Contender<'a>>, String> {
    let builder = || hedge_tower::builder(clock.clone()).timeout(TIMEOUT).backup(DELAY);
    let refused = |error| format!("hedge-tower: {error}");
    let mut one = builder().layer().map_err(refused)?.layer(Slow);
    let mut set = builder().seed(1).set().map_err(refused)?;
    for server in 0..SERVERS {
        set.insert(server, Slow);
    }
    Ok(vec![
        Contender::new("hedge-tower, one service", FLOOR, move || called(&mut one, || {}))
            .target(AtMost(1.0, below))
            .counting_timers(|| clock.sleeps()),
        Contender::new("hedge-tower, a set of 16", FLOOR, move || called(&mut set, || {}))
            .counting_timers(|| clock.sleeps()),
    ])
}

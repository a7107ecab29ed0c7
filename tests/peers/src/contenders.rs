//! Who is compared: [`Contender`].

use std::time::Duration;

use hedge_core::limit::LimitOptions;
use hedge_tokio::Tokio;
use tower::hedge::Policy;
use tower::util::BoxService;
use tower::{BoxError, Layer, ServiceExt};

use crate::DELAY_MS;
use crate::script::Service;

const DELAY: Duration = Duration::from_millis(DELAY_MS);

/// A way to hedge a tower service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// `tower::hedge`.
    Tower,
    /// `tower-resilience-hedge`.
    TowerResilience,
    /// This project's `hedge-tower`.
    HedgeTower,
}

impl Contender {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::Tower, Self::TowerResilience, Self::HedgeTower];

    /// The crate it comes in.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Tower => "tower",
            Self::TowerResilience => "tower-resilience-hedge",
            Self::HedgeTower => "hedge-tower",
        }
    }

    /// `service`, hedged after 50 ms. `limits` are for those that take some.
    pub(crate) fn wrap(self, service: Service, limits: LimitOptions) -> BoxService<(), (), BoxError> {
        match self {
            Self::Tower => tower_hedge(service).boxed(),
            Self::TowerResilience => {
                let layer = tower_resilience_hedge::HedgeLayer::builder().delay(DELAY).max_hedged_attempts(2).build();
                layer.layer(service).map_err(BoxError::from).boxed()
            }
            Self::HedgeTower => {
                let builder = hedge_tower::builder(Tokio::new()).timeout(Duration::from_secs(10)).backup(DELAY);
                match builder.limits(limits).layer() {
                    Ok(layer) => layer.layer(service).map_err(BoxError::from).boxed(),
                    Err(error) => service.map_err(move |_| BoxError::from(error)).boxed(),
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Always;

impl Policy<()> for Always {
    fn clone_request(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn can_retry(&self, (): &()) -> bool {
        true
    }
}

/// It takes its delay from the latencies that it has seen: here 50 ms, and none newer within the run.
fn tower_hedge(service: Service) -> tower::hedge::Hedge<Service, Always> {
    const SEEN: [u64; 10] = [DELAY_MS; 10];
    const PERIOD: Duration = Duration::from_secs(24 * 3600);
    tower::hedge::Hedge::new_with_mock_latencies(service, Always, 10, 0.9, PERIOD, &SEEN)
}

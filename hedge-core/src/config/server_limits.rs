//! Limits on what a channel sends to a single server: [`ServerLimits`].

use crate::policy::ConfigError;
use crate::time::{Duration, Timeout};

/// Two limits for each server, and a queue. The first limit is how many attempts may be in flight at the server at the
/// same time ([L22](crate::rules#L22)). The second limit is how fast the server's traffic grows after the server was
/// added to the list or has returned ([S11](crate::rules#S11)). Calls may wait in the queue while all servers are full.
/// Hosts with a list of servers enforce these limits: hedge-net, and the server sets of hedge-tower. By default,
/// everything is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerLimits {
    /// How many attempts may be in flight at a server. `None` means any number. 0 is an error.
    pub max_in_flight_per_server: Option<u32>,
    /// How many calls may wait for room while all servers are full. 0 means that no call may wait: such a call ends at
    /// once.
    pub max_queued_calls: u32,
    /// How long a call may wait for room. A call never waits longer than until its deadline.
    pub max_queue_wait: Timeout,
    /// How long it takes until a server that was added to the list or has returned has its full share of the traffic.
    /// `None` means that the server has its full share at once.
    pub slow_start: Option<Duration>,
}

impl ServerLimits {
    /// No limits.
    pub const NONE: Self =
        Self { max_in_flight_per_server: None, max_queued_calls: 0, max_queue_wait: Timeout::NEVER, slow_start: None };

    /// Checks the values.
    ///
    /// # Errors
    /// Returns an error for the first value that is 0 although 0 is not allowed for it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_in_flight_per_server == Some(0) {
            return Err(ConfigError::NoRoom { field: "max_in_flight_per_server" });
        }
        if self.max_queue_wait == Timeout::ZERO {
            return Err(ConfigError::NoTime { field: "max_queue_wait" });
        }
        if self.slow_start == Some(Duration::ZERO) {
            return Err(ConfigError::NoTime { field: "slow_start" });
        }
        Ok(())
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self::NONE
    }
}

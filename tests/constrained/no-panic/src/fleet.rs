//! The symbols of a channel with any balancer and any breaker, and of a server's checks. They are exported like those of
//! [`exports`](crate::exports).

#![expect(unsafe_code, reason = "there is no other way to export a symbol")]

use hedge_core::balance::{AnyBalancer, AnyTicket, BalancerName, Fixed, NoServer, Pick, ProbeAnswer, Selection};
use hedge_core::call::Host;
use hedge_core::channel::Channel;
use hedge_core::health::{
    AnyBreaker, BreakerOptions, CheckAction, CheckInput, Checker, Health, IsolationLimit, Recovering, RecoveryOptions,
};
use hedge_core::id::ServerId;
use hedge_core::outcome::Finished;
use hedge_core::policy::{ChannelOptions, NoPolicy};
use hedge_core::time::Instant;

/// As many servers as [`Line`](crate::Line) has, with room for eight points of each on a ring.
type Fleet = Channel<u32, AnyBalancer<Fixed<16, 128>>, NoPolicy, u8, 16, Recovering<AnyBreaker>>;

/// Makes a channel. Returns false if the balancer cannot be made.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_new(
    place: &mut Option<Fleet>,
    balancer: BalancerName,
    breaker: BreakerOptions,
    recovery: RecoveryOptions,
) -> bool {
    *place = fleet(balancer, breaker, recovery);
    place.is_some()
}

fn fleet(balancer: BalancerName, breaker: BreakerOptions, recovery: RecoveryOptions) -> Option<Fleet> {
    let breaker = Recovering::new(AnyBreaker::new(breaker), Some(recovery));
    let health = Health::new(breaker, IsolationLimit::DEFAULT);
    let balancer = AnyBalancer::new(balancer, 1).ok()?;
    Some(Channel::with_health(ChannelOptions::brpc(), balancer, NoPolicy, health, 1))
}

/// Adds a server. Returns false if there is no room.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_insert(fleet: &mut Fleet, address: u32, tag: u8) -> bool {
    fleet.insert(address, tag).is_ok()
}

/// Removes a server. Returns false if it is not in the list.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_remove(fleet: &mut Fleet, server: ServerId, now: Instant) -> bool {
    fleet.remove(server, now).is_ok()
}

/// Replaces the list of servers. Returns false if there is no room.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_set(fleet: &mut Fleet, servers: &[(u32, u8)], now: Instant) -> bool {
    fleet.set_servers(servers.iter().copied(), now).is_ok()
}

/// Sets whether a server can be connected to. Returns false if it is not in the list.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_set_usable(fleet: &Fleet, server: ServerId, usable: bool, now: Instant) -> bool {
    fleet.set_usable(server, usable, now)
}

/// Looks for a server.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_look(
    fleet: &Fleet,
    selection: &Selection<'_>,
    random: &mut dyn FnMut() -> u32,
) -> Result<Pick<AnyTicket>, NoServer> {
    fleet.look(selection, random)
}

/// Commits to the server that was found.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_commit(fleet: &Fleet, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
    fleet.commit(pick, now, insist)
}

/// Tells the channel of the end of an attempt.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_finished(fleet: &Fleet, attempt: &Finished) {
    fleet.finished(attempt);
}

/// Says which servers to probe.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_probes(fleet: &Fleet, now: Instant, probe: &mut dyn FnMut(ServerId)) {
    fleet.probes(now, probe);
}

/// Tells the channel of the answer to a probe.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_probed(fleet: &Fleet, server: ServerId, answer: ProbeAnswer, now: Instant) {
    fleet.probed(server, answer, now);
}

/// Says what to check, and when.
#[unsafe(no_mangle)]
pub(crate) fn hedge_check_poll(checker: &mut Checker, now: Instant) -> CheckAction {
    checker.poll(now)
}

/// Tells the checker what happened.
#[unsafe(no_mangle)]
pub(crate) fn hedge_check_handle(checker: &mut Checker, now: Instant, input: CheckInput) {
    checker.handle(now, input);
}

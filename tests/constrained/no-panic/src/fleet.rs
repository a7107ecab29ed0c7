//! The symbols of a channel by any balancer, under a breaker, and of a server's checks, exported as those of
//! [`exports`](crate::exports).

#![expect(unsafe_code, reason = "a symbol can be exported in no other way")]

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

/// Servers as those of [`Line`](crate::Line), room for eight points of each on a ring.
type Fleet = Channel<u32, AnyBalancer<Fixed<16, 128>>, NoPolicy, u8, 16, Recovering<AnyBreaker>>;

/// Makes a channel; false if an option is out of its range.
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
    let breaker = Recovering::new(AnyBreaker::new(breaker).ok()?, Some(recovery)).ok()?;
    let health = Health::new(breaker, IsolationLimit::DEFAULT).ok()?;
    let balancer = AnyBalancer::new(balancer, 1).ok()?;
    Some(Channel::with_health(ChannelOptions::brpc(), balancer, NoPolicy, health, 1))
}

/// Adds a server; false if there is no room.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_insert(fleet: &mut Fleet, address: u32, tag: u8) -> bool {
    fleet.insert(address, tag).is_ok()
}

/// Removes a server; false if it is gone.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_remove(fleet: &mut Fleet, server: ServerId, now: Instant) -> bool {
    fleet.remove(server, now).is_ok()
}

/// Makes these the servers; false if there is no room.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_set(fleet: &mut Fleet, servers: &[(u32, u8)], now: Instant) -> bool {
    fleet.set_servers(servers.iter().copied(), now).is_ok()
}

/// Says whether a server's connection stands; false if it is gone.
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

/// Commits to it.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_commit(fleet: &Fleet, pick: &Pick<AnyTicket>, now: Instant, insist: bool) -> bool {
    fleet.commit(pick, now, insist)
}

/// Hears of an attempt's end.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_finished(fleet: &Fleet, attempt: &Finished) {
    fleet.finished(attempt);
}

/// Which servers to probe.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_probes(fleet: &Fleet, now: Instant, probe: &mut dyn FnMut(ServerId)) {
    fleet.probes(now, probe);
}

/// Hears of a probe's answer.
#[unsafe(no_mangle)]
pub(crate) fn hedge_fleet_probed(fleet: &Fleet, server: ServerId, answer: ProbeAnswer, now: Instant) {
    fleet.probed(server, answer, now);
}

/// What to check, and when.
#[unsafe(no_mangle)]
pub(crate) fn hedge_check_poll(checker: &mut Checker, now: Instant) -> CheckAction {
    checker.poll(now)
}

/// Takes in what happened.
#[unsafe(no_mangle)]
pub(crate) fn hedge_check_handle(checker: &mut Checker, now: Instant, input: CheckInput) {
    checker.handle(now, input);
}

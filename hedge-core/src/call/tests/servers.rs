//! The choice of a server for an attempt: rules L11, S6, S8 and L20.

use super::*;
use crate::balance::RrTicket;
use crate::outcome::{Finished, SentAttempt};

#[test]
fn l11_an_untried_server_is_found_wherever_it_stands() {
    // There are six servers. One was tried, four are down, and one is left.
    let channel = line(6, ChannelOptions::brpc());
    for address in 1..5 {
        channel.set_usable(channel.cluster().find(address, 0).unwrap(), false, at(0));
    }
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    assert_eq!(first.server.slot(), 0);
    call.verdict(1, first.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(1).server.slot(), 5);
}

#[test]
fn l11_when_all_are_tried_the_least_recently_tried_idle_one_is_next() {
    let channel = line(2, ChannelOptions::brpc());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let mut visited = [0; 4];
    for place in &mut visited {
        let start = call.expect_start(0);
        *place = start.server.slot();
        call.verdict(0, start.attempt, Verdict::Retry);
    }
    assert_eq!(visited, [0, 1, 0, 1]);
}

#[test]
fn l11_least_recently_tried_counts_before_the_balancers_order() {
    let channel = line(3, ChannelOptions::brpc());
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    for _ in 0..3 {
        let start = call.expect_start(0);
        call.verdict(0, start.attempt, Verdict::Retry);
    }
    // The other call takes the balancer's next turn, server 1. The order that the balancer gives the first call begins
    // at a random server.
    let mut other = channel.call(&options, at(0)).unwrap();
    assert_eq!(other.expect_start(0).server.slot(), 1, "only first attempts take turns");
    assert_eq!(call.expect_start(0).server.slot(), 0);
}

#[test]
fn l11_a_backup_never_goes_to_an_address_at_work_on_the_call() {
    let channel = line(2, ChannelOptions { max_backups: 3, ..hedged(20) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    assert_eq!(call.expect_wait(40), Some(500), "both are at work");
    call.verdict(50, backup.attempt, Verdict::Retry);
    let third = call.expect_start(50);
    assert_eq!(third.server, backup.server, "idle again, so it may be used");
    assert_ne!(third.server, first.server);
}

#[test]
fn l11_one_address_with_two_tags_is_one_server_for_a_backup() {
    let mut channel = line(1, hedged(20));
    channel.insert(0, 1).unwrap();
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    call.expect_start(0);
    assert_eq!(call.expect_wait(0), Some(500));
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoOtherServer));
}

#[test]
fn l11_same_server_backup_lifts_it() {
    let channel = line(1, ChannelOptions { same_server_backup: true, ..hedged(20) });
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let (first, backup) = (call.expect_start(0), call.expect_start(20));
    assert_eq!((backup.kind, backup.server), (Kind::Backup, first.server));
    assert_eq!(channel.cluster().in_flight(first.server), 2);
    call.verdict(30, backup.attempt, Verdict::Retry);
    assert_eq!(call.expect_start(30).kind, Kind::Retry);
}

#[test]
fn s2_rr_goes_on_behind_the_server_that_was_chosen() {
    let channel = line(3, ChannelOptions::brpc());
    let down = channel.cluster().find(1, 0).unwrap();
    channel.set_usable(down, false, Instant::ZERO);
    let options = CallOptions::new();
    let mut counts = [0; 3];
    for _ in 0..100 {
        let mut call = channel.call(&options, at(0)).unwrap();
        counts[usize::from(call.expect_start(0).server.slot())] += 1;
    }
    assert_eq!(counts, [50, 0, 50], "the neighbour of a dead server gets no more than its share");
}

#[test]
fn s8_a_call_may_name_its_own_servers_in_order() {
    let channel = line(5, hedged(20));
    let named = [3, 1].map(|address| channel.cluster().find(address, 0).unwrap());
    let options = CallOptions { servers: Some(&named), ..CallOptions::new() };
    let mut call = channel.call(&options, at(0)).unwrap();
    assert_eq!([call.expect_start(0).server, call.expect_start(20).server], named);
    let plain = CallOptions::new();
    let mut plain = channel.call(&plain, at(0)).unwrap();
    assert_eq!(plain.expect_start(0).server.slot(), 0, "the balancer was not moved");

    let one = CallOptions { servers: Some(&named[..1]), ..CallOptions::new() };
    let mut call = channel.call(&one, at(0)).unwrap();
    call.expect_start(0);
    assert_eq!(call.expect_wait(0), Some(500));
    assert_eq!(call.report().not_hedged(), Some(NotHedged::NoOtherServer));
    let gone = [ServerId::new(7, 7)];
    let options = CallOptions { servers: Some(&gone), ..CallOptions::new() };
    assert_eq!(channel.call(&options, at(0)).unwrap().expect_done(0), End::NoServer);
}

#[test]
fn l20_feedback_of_a_removed_server_is_dropped() {
    // The list of a borrowed channel cannot change during a call. So this test makes no call: it reports the result of
    // an attempt after the slot has got another server.
    let mut channel = line(1, ChannelOptions::brpc());
    let old = channel.cluster().find(0, 0).unwrap();
    assert!(channel.commit(&Pick { server: old, address: AddressKey(0), ticket: None }, at(0), true));
    channel.remove(old, Instant::ZERO).unwrap();
    let new = channel.insert(1, 0).unwrap();
    let (at, timeout) = (at(0), Timeout::NEVER);
    let sent = SentAttempt { server: old, at, attempt: AttemptId::FIRST, max_retry: 0, timeout };
    channel.finished(&sent.finished(at, Feedback::Success { latency: ms(1).into() }, Code::NONE));
    assert_eq!(channel.cluster().in_flight(new), 0);
}

#[test]
fn plain_calls_draw_no_random_numbers() {
    let channel = line(3, ChannelOptions::brpc());
    let before = channel.seeds().next();
    let options = CallOptions::new();
    let mut call = channel.call(&options, at(0)).unwrap();
    let first = call.expect_start(0);
    call.verdict(1, first.attempt, Verdict::Accept);
    drop(call);
    let fresh = crate::random::Seeds::new(7);
    assert_eq!((before, channel.seeds().next()), (fresh.next(), fresh.next()), "no seed was taken in between");
}

/// A channel on which other calls take the balancer's turn between look and commit. This happens `races` times.
struct Contended {
    channel: Line<NoPolicy>,
    races: core::cell::Cell<u32>,
    looks: core::cell::Cell<u32>,
}

impl Host for Contended {
    type Ticket = RrTicket;

    fn options(&self) -> &ChannelOptions {
        self.channel.options()
    }

    fn seeds(&self) -> &crate::random::Seeds {
        self.channel.seeds()
    }

    fn addresses(&self) -> usize {
        self.channel.addresses()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<RrTicket>, NoServer> {
        self.looks.set(self.looks.get() + 1);
        self.channel.look(selection, random)
    }

    fn commit(&self, pick: &Pick<RrTicket>, now: Instant, insist: bool) -> bool {
        if let Some(left) = self.races.get().checked_sub(1) {
            self.races.set(left);
            let others = self.channel.look(
                &Selection { tried: &[], same: None, working_too: false, servers: None, request_code: None, now },
                &mut || 0,
            );
            assert!(self.channel.commit(&others.unwrap(), now, true));
        }
        self.channel.commit(pick, now, insist)
    }

    fn finished(&self, attempt: &Finished) {
        self.channel.finished(attempt);
    }

    fn answered(&self, attempt: &Finished) {
        self.channel.answered(attempt);
    }

    fn released(&self, server: ServerId) {
        self.channel.released(server);
    }
}

#[test]
fn s2_a_first_attempt_looks_again_when_another_call_took_its_turn_and_a_backup_insists() {
    let contended = |races| Contended {
        channel: line(5, hedged(20)),
        races: core::cell::Cell::new(races),
        looks: core::cell::Cell::default(),
    };
    let options = CallOptions::new();
    for (races, looks, slot) in [(0, 1, 0), (1, 2, 1), (3, 4, 3), (9, 4, 3)] {
        let host = contended(races);
        let mut call = Call::<_, 4>::new(&host, &options, at(0)).unwrap();
        assert_eq!(call.expect_start(0).server.slot(), slot, "{races} races");
        assert_eq!(host.looks.get(), looks, "it insists at the fourth look");
        host.races.set(1);
        host.looks.set(0);
        let backup = call.expect_start(20);
        assert_eq!((backup.kind, host.looks.get()), (Kind::Backup, 1), "granted where it was granted for");
    }
}

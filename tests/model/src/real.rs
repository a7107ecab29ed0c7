//! The core's own call, before a channel whose every conversation with it is written down: [`Real`].

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};

use hedge_core::balance::{Balancer, InTurn, NoServer, Offer, Pick, Search, Selection, ServerList};
use hedge_core::call::{Action, Call, Host, Input};
use hedge_core::channel::Channel;
use hedge_core::id::{AttemptId, ServerId};
use hedge_core::outcome::{Denial, Finished, Judgement};
use hedge_core::policy::{BackupDelay, BackupPolicy, CallOptions, ChannelOptions, ConfigError, Ended};
use hedge_core::random::Seeds;
use hedge_core::time::Instant;

use crate::play::{Account, Machine, Step, play};
use crate::script::{Answers, Script, Server};
use crate::words::{self, Told};

/// How many attempts a call holds, and servers its channel.
const MOST: usize = 8;
/// How many servers there ever are.
const SERVERS: usize = 16;

/// Lines that several write.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn write(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Plays a script before the core's call.
///
/// # Errors
/// Options that the core refuses.
pub(crate) fn run(script: &Script) -> Result<Account, ConfigError> {
    let (host_log, policy_log) = (Log::default(), Log::default());
    let policy = |who, answers: &Answers| Policy {
        who,
        answers: answers.clone(),
        asked: Mutex::new((0, 0)),
        log: policy_log.clone(),
    };
    let balancer = Begin { first: script.first_offset, further: script.further_offset, log: host_log.clone() };
    let policies = policy("channel", &script.channel_policy);
    let mut channel = Channel::with_policy(script.channel.clone(), balancer, policies, 1);
    let mut servers = Vec::new();
    for server in &script.servers {
        let id = channel.insert(server.address, server.tag).ok();
        if let Some(id) = id {
            channel.set_usable(id, server.usable, Instant::from_micros(script.start));
        }
        servers.push(id);
    }
    let host = Watched {
        options: script.channel.clone(),
        channel: RefCell::new(channel),
        seeds: Seeds::new(1),
        servers: RefCell::new(servers),
        lost: RefCell::new(script.lost_commits.clone()),
        commits: Cell::new(0),
        log: host_log.clone(),
    };
    let own_policy = script.call_policy.as_ref().map(|answers| policy("call", answers));
    let named: Option<Vec<ServerId>> =
        script.named.as_ref().map(|named| named.iter().filter_map(|number| host.id(*number)).collect());
    let own = CallOptions {
        servers: named.as_deref(),
        backup_policy: own_policy.as_ref().map(|policy| policy as &(dyn BackupPolicy + Sync)),
        ..script.own.clone()
    };
    let call = Call::new(&host, &own, Instant::from_micros(script.start))?;
    let real = Real { host: &host, call, ids: Vec::new(), report: Vec::new() };
    let mut account = play(script, real);
    account.host = host_log.take();
    account.policy = policy_log.take();
    Ok(account)
}

/// The core's call.
struct Real<'a> {
    host: &'a Watched,
    call: Call<'a, &'a Watched, MOST>,
    ids: Vec<AttemptId>,
    report: Vec<String>,
}

impl Machine for Real<'_> {
    fn poll(&mut self, now: u64) -> Step {
        match self.call.poll(Instant::from_micros(now)) {
            Action::Start(start) => {
                let number = start.attempt.index();
                self.ids.push(start.attempt);
                let server = self.host.name(start.server);
                let remaining = start.remaining.map(|it| it.as_micros());
                let connect = start.connect_deadline.map(Instant::as_micros);
                Step::Start(number, words::start(&start.kind, &server, remaining, connect))
            }
            Action::Abandon { attempt } => Step::Abandon(attempt.index()),
            Action::Wait { until } => Step::Wait(until.map(Instant::as_micros)),
            Action::Done(end) => Step::Done(end),
        }
    }

    fn finish(&mut self, now: u64, attempt: usize, judgement: Judgement) {
        if let Some(attempt) = self.ids.get(attempt).copied() {
            self.call.handle(Instant::from_micros(now), Input::Finished { attempt, judgement });
        }
    }

    fn cancel(&mut self, now: u64) {
        self.call.handle(Instant::from_micros(now), Input::Cancel);
    }

    fn set_usable(&mut self, now: u64, server: usize, usable: bool) {
        if let Some(id) = self.host.id(server) {
            self.host.channel.borrow().set_usable(id, usable, Instant::from_micros(now));
        }
    }

    fn remove(&mut self, now: u64, server: usize) {
        if let Some(id) = self.host.id(server) {
            let _ = self.host.channel.borrow_mut().remove(id, Instant::from_micros(now));
        }
    }

    fn insert(&mut self, server: Server) {
        let id = self.host.channel.borrow_mut().insert(server.address, server.tag).ok();
        if let Some(id) = id {
            self.host.channel.borrow().set_usable(id, server.usable, Instant::ZERO);
        }
        self.host.servers.borrow_mut().push(id);
    }

    fn finish_up(mut self) -> Account {
        let report = self.call.report();
        let mut lines = vec![words::summary(
            report.end(),
            report.elapsed_micros().as_micros(),
            report.winner().map(AttemptId::index),
            report.decisive().map(AttemptId::index),
            report.end().and(report.not_hedged()),
        )];
        lines.push(format!("retried {}, backups {}", report.retried_count(), report.backups()));
        lines.extend(report.attempts().iter().map(|attempt| self.host.attempt(attempt)));
        let at_work = self.call.winner_at_work();
        lines.push(format!("winner at work: {:?}", at_work.map(|server| self.host.name(server))));
        self.report = lines;
        let Self { host, call, report, .. } = self;
        drop(call);
        if let Some(server) = at_work {
            host.channel.borrow().released(server);
        }
        let left = host
            .servers
            .borrow()
            .iter()
            .flatten()
            .map(|id| host.channel.borrow().cluster().in_flight(*id))
            .sum::<u32>();
        let mut report = report;
        report.push(format!("in flight afterwards: {left}"));
        Account { report, ..Account::default() }
    }
}

type Servers = Channel<u16, Begin, Policy, u8, SERVERS>;

/// A channel, with everything that a call tells it.
struct Watched {
    options: ChannelOptions,
    channel: RefCell<Servers>,
    seeds: Seeds,
    /// The servers that were ever in the list, by their numbers.
    servers: RefCell<Vec<Option<ServerId>>>,
    lost: RefCell<Vec<bool>>,
    commits: Cell<usize>,
    log: Log,
}

impl Watched {
    fn id(&self, number: usize) -> Option<ServerId> {
        self.servers.borrow().get(number).copied().flatten()
    }

    fn name(&self, server: ServerId) -> String {
        let number = self.servers.borrow().iter().position(|id| *id == Some(server));
        number.map_or_else(|| format!("unknown {server}"), |number| format!("server {number}"))
    }

    fn told(&self, how: &str, attempt: &Finished) {
        let sent = attempt.sent;
        self.log.write(words::told(&Told {
            how,
            attempt: sent.attempt.index(),
            server: &self.name(sent.server),
            sent: sent.at.as_micros(),
            now: attempt.now.as_micros(),
            feedback: attempt.feedback,
            code: attempt.code,
            max_retry: sent.max_retry,
            timeout: sent.timeout,
        }));
    }

    fn attempt(&self, attempt: &hedge_core::outcome::Attempt) -> String {
        words::attempt(
            attempt.kind(),
            &self.name(attempt.server()),
            attempt.started_micros().as_micros(),
            attempt.ended_micros().map(|it| it.as_micros()),
            attempt.state(),
            attempt.code(),
        )
    }
}

impl Host for Watched {
    type Ticket = <Begin as Balancer>::Ticket;

    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.channel.borrow().addresses()
    }

    fn look(&self, selection: &Selection<'_>, random: &mut dyn FnMut() -> u32) -> Result<Pick<Self::Ticket>, NoServer> {
        self.channel.borrow().look(selection, random)
    }

    fn commit(&self, pick: &Pick<Self::Ticket>, now: Instant, insist: bool) -> bool {
        let number = self.commits.replace(self.commits.get() + 1);
        if !insist && self.lost.borrow().get(number).copied().unwrap_or(false) {
            return false;
        }
        let committed = self.channel.borrow().commit(pick, now, insist);
        self.log.write(format!("{}: commit {} ({committed})", now.as_micros(), self.name(pick.server)));
        committed
    }

    fn finished(&self, attempt: &Finished) {
        self.told("finished", attempt);
        self.channel.borrow().finished(attempt);
    }

    fn answered(&self, attempt: &Finished) {
        self.told("answered", attempt);
        self.channel.borrow().answered(attempt);
    }

    fn released(&self, server: ServerId) {
        self.log.write(format!("released {}", self.name(server)));
        self.channel.borrow().released(server);
    }

    fn backup_delay(&self, now: Instant) -> BackupDelay {
        self.channel.borrow().backup_delay(now)
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        self.channel.borrow().may_back_up(now)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        self.channel.borrow().may_retry(now)
    }

    fn ended(&self, call: &Ended<'_>) {
        self.channel.borrow().ended(call);
    }
}

/// Offers the servers in list order, from a place that the script says.
struct Begin {
    first: usize,
    further: usize,
    log: Log,
}

impl Balancer for Begin {
    type Stats = ();
    type Ticket = ();

    fn stats(&self) {}

    fn offers<'a, L: ServerList<Stats = ()> + Copy + 'a>(
        &'a self,
        look: Search<'a, L>,
        _: &'a mut dyn FnMut() -> u32,
    ) -> impl Iterator<Item = Offer<()>> + 'a {
        let from = if look.is_first() { self.first } else { self.further };
        let from = u32::try_from(from).unwrap_or(0);
        look.in_order(move |len| InTurn::from_origin(len, from)).map(|(_, candidate)| Offer { candidate, ticket: () })
    }

    fn finished<L: ServerList<Stats = ()>>(&self, _: &L, attempt: &Finished) {
        self.log.write(format!("balancer hears of {}", attempt.sent.attempt));
    }
}

/// A policy that answers as the script says, and writes down what it is asked and told.
struct Policy {
    who: &'static str,
    answers: Answers,
    /// How often it was asked for a backup and a retry.
    asked: Mutex<(usize, usize)>,
    log: Log,
}

impl Policy {
    fn answer(&self, what: &str, now: Instant, answers: &[Option<Denial>], number: usize) -> Result<(), Denial> {
        self.log.write(words::asked(self.who, what, now.as_micros()));
        answers.get(number).copied().flatten().map_or(Ok(()), Err)
    }
}

impl BackupPolicy for Policy {
    fn delay(&self, now: Instant) -> Option<BackupDelay> {
        self.log.write(words::asked(self.who, "delay", now.as_micros()));
        self.answers.delay
    }

    fn may_back_up(&self, now: Instant) -> Result<(), Denial> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.0 += 1;
        self.answer("backup", now, &self.answers.backups, asked.0 - 1)
    }

    fn may_retry(&self, now: Instant) -> Result<(), Denial> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.1 += 1;
        self.answer("retry", now, &self.answers.retries, asked.1 - 1)
    }

    fn ended(&self, call: &Ended<'_>) {
        let states: Vec<String> = call.attempts.iter().map(|it| format!("{:?} {:?}", it.kind(), it.state())).collect();
        self.log.write(words::ended(
            self.who,
            call.end,
            call.at.as_micros(),
            call.elapsed_micros().as_micros(),
            call.not_hedged(),
            &states,
        ));
    }
}

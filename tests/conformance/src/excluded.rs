//! Suite `excluded_servers`: which servers a call has tried, as brpc's list of them and as a call's own report says.

use std::cell::RefCell;
use std::collections::BTreeSet;

use hedge_core::balance::{NoServer, Pick, Selection};
use hedge_core::call::{Action, Call, Host, Input};
use hedge_core::id::{AddressKey, ServerId};
use hedge_core::outcome::{Finished, Verdict as Means};
use hedge_core::policy::{CallOptions, ChannelOptions, ConfigError};
use hedge_core::random::Seeds;
use hedge_core::time::{Instant, Timeout};
use serde::Deserialize;

use crate::{Case, Verdict};

#[derive(Deserialize)]
struct Table {
    cases: Vec<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    cap: usize,
    adds: Vec<u32>,
    size: usize,
    excluded: BTreeSet<u32>,
}

const FORGETS: &str =
    "L3: more attempts than a call holds are an error in its options, and none that was made is forgotten";
const TWICE: &str = "L11: every attempt is kept, at the same server twice in a row too; what is excluded is the same";

pub(crate) fn run(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    let table: Table = serde_json::from_str(text)?;
    Ok(table.cases.iter().map(|list| Case { name: name(list), verdict: verdict(list) }).collect())
}

fn name(list: &List) -> String {
    let adds: Vec<String> = list.adds.iter().map(u32::to_string).collect();
    format!("cap {} adds {}", list.cap, adds.join(","))
}

fn verdict(list: &List) -> Verdict {
    let fail = |got| Verdict::Fail { expected: format!("size {}, excluded {:?}", list.size, list.excluded), got };
    let compared = |listed: &[u32]| {
        let excluded: BTreeSet<u32> = listed.iter().copied().collect();
        if listed.len() == list.size && excluded == list.excluded {
            return Ok(());
        }
        Err(fail(format!("size {}, excluded {excluded:?}", listed.len())))
    };
    // What differs here differs from brpc's list, not from whatever the table says.
    let theirs = brpcs(list);
    if let Err(fails) = compared(&theirs) {
        return fails;
    }
    match tried(list) {
        Ok(Ok(tried)) if without_repeats(&tried) != theirs => fail(format!("tried {tried:?}")),
        Ok(Ok(tried)) if tried != theirs => Verdict::Differs { why: TWICE.into() },
        Ok(Ok(_)) => Verdict::Ok,
        Ok(Err(ConfigError::TooManyAttempts { .. })) if list.adds.len() > list.cap => {
            Verdict::Differs { why: FORGETS.into() }
        }
        Ok(Err(error)) => fail(error.to_string()),
        Err(error) => fail(error),
    }
}

/// brpc's list: what is the last in it is not added again, and what is too much drops the oldest.
fn brpcs(list: &List) -> Vec<u32> {
    let mut listed = without_repeats(&list.adds);
    listed.drain(..listed.len().saturating_sub(list.cap));
    listed
}

/// Each run of one server as one.
fn without_repeats(servers: &[u32]) -> Vec<u32> {
    let mut listed = servers.to_vec();
    listed.dedup();
    listed
}

/// What a call with room for `cap` attempts says it has tried when it looks for its next server.
fn tried(list: &List) -> Result<Result<Vec<u32>, ConfigError>, String> {
    match list.cap {
        1 => Ok(call::<1>(&list.adds)),
        2 => Ok(call::<2>(&list.adds)),
        3 => Ok(call::<3>(&list.adds)),
        4 => Ok(call::<4>(&list.adds)),
        5 => Ok(call::<5>(&list.adds)),
        6 => Ok(call::<6>(&list.adds)),
        7 => Ok(call::<7>(&list.adds)),
        8 => Ok(call::<8>(&list.adds)),
        9..=16 => Ok(call::<16>(&list.adds)),
        17..=255 => Ok(call::<255>(&list.adds)),
        cap => Err(format!("a call holds 1 to 255 attempts, not {cap}")),
    }
}

/// A call whose attempts all fail, one after another, at the servers that are named.
fn call<const N: usize>(servers: &[u32]) -> Result<Vec<u32>, ConfigError> {
    let max_retry = u8::try_from(servers.len().saturating_sub(1)).unwrap_or(u8::MAX);
    let options = ChannelOptions { max_retry, timeout: Timeout::NEVER, ..ChannelOptions::brpc() };
    let host = Named { options, seeds: Seeds::new(1), servers, looks: RefCell::default() };
    let own = CallOptions::new();
    let mut call = Call::<_, N>::new(&host, &own, Instant::ZERO)?;
    let mut left = servers.len();
    while left > 0 {
        match call.poll(Instant::ZERO) {
            Action::Start(start) => {
                left -= 1;
                call.handle(Instant::ZERO, Input::finished(start.attempt, Means::Retry));
            }
            Action::Abandon { .. } => {}
            Action::Wait { .. } | Action::Done(_) => break,
        }
    }
    let tried = call.report().attempts().iter().map(|attempt| attempt.address().0).collect();
    // Each look was told of exactly what had been tried until then.
    let told = host.looks.borrow().iter().enumerate().all(|(look, tried)| *tried == servers.get(..look).unwrap_or(&[]));
    Ok(if told { tried } else { Vec::new() })
}

/// Servers in the order in which a call is to use them.
struct Named<'s> {
    options: ChannelOptions,
    seeds: Seeds,
    servers: &'s [u32],
    /// What each look was told to have been tried.
    looks: RefCell<Vec<Vec<u32>>>,
}

impl Host for Named<'_> {
    type Ticket = ();

    fn options(&self) -> &ChannelOptions {
        &self.options
    }

    fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn addresses(&self) -> usize {
        self.servers.len()
    }

    fn look(&self, selection: &Selection<'_>, _: &mut dyn FnMut() -> u32) -> Result<Pick<()>, NoServer> {
        self.looks.borrow_mut().push(selection.tried.iter().map(|attempt| attempt.address().0).collect());
        let address = *self.servers.get(selection.tried.len()).ok_or(NoServer::Empty)?;
        Ok(Pick { server: ServerId::default(), address: AddressKey(address), ticket: None })
    }

    fn commit(&self, _: &Pick<()>, _: Instant, _: bool) -> bool {
        true
    }

    fn finished(&self, _: &Finished) {}

    fn answered(&self, _: &Finished) {}

    fn released(&self, _: ServerId) {}
}

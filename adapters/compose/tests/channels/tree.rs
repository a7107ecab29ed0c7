//! Trees of channels, written as text.
//!
//! A leaf is `name=answer@ms,answer@ms`: what its calls answer, and after how long. A channel of channels is
//! `name=sel{key=value …}(channel channel …)` or `name=par{…}(…)`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hedge_compose::hedge_core::limit::LimitOptions;
use hedge_compose::hedge_core::policy::{ChannelOptions, Idempotency};
use hedge_compose::hedge_core::time::Timeout;
use hedge_compose::hedge_fleet::{BoxCaller, CallOptions, Caller, Outcome};
use hedge_compose::{
    Mapped, Parallel, ParallelError, ParallelReply, PartResult, Parts, Selective, SelectiveError, SelectiveReply,
};

use crate::world::{Answer, Clock, Leaf, Said, Wrong};

/// Any channel.
pub(crate) type Node = BoxCaller<String, Said, Wrong>;

/// A channel made from text, and what the test sees of it.
pub(crate) struct Tree {
    pub(crate) root: Node,
    pub(crate) leaves: Vec<Leaf>,
    /// For each channel of channels, how many sub-calls or calls are in flight.
    in_flight: Vec<Box<dyn Fn() -> u32 + Send + Sync>>,
    /// For each channel of channels: its name and its counts.
    pub(crate) levels: Vec<Level>,
}

pub(crate) struct Level {
    pub(crate) name: String,
    /// How many attempts one call may make.
    pub(crate) per_call: usize,
    /// How many calls have begun.
    pub(crate) begun: Arc<AtomicUsize>,
    /// How many calls have ended, and how many attempts they have made.
    pub(crate) calls: Box<dyn Fn() -> (u64, u64) + Send + Sync>,
}

/// Gives the channels of all types one type, and counts their calls.
struct Uniform<C, R, E> {
    channel: C,
    begun: Arc<AtomicUsize>,
    said: fn(&R) -> String,
    wrong: fn(&E) -> String,
}

impl<C, R, E> Caller<String> for Uniform<C, R, E>
where
    C: Caller<String, Reply = R, Error = E>,
    R: Outcome + Send + 'static,
    E: Outcome + Send + 'static,
{
    type Reply = Said;
    type Error = Wrong;

    async fn call_with(&self, request: &String, options: &CallOptions) -> Result<Said, Wrong> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match self.channel.call_with(request, options).await {
            Ok(reply) => Ok(Said { text: (self.said)(&reply), outcome: Box::new(reply) }),
            Err(error) => Err(Wrong { kind: (self.wrong)(&error), outcome: Box::new(error) }),
        }
    }

    fn has_usable_server(&self) -> bool {
        self.channel.has_usable_server()
    }

    fn idempotency(&self, request: &String) -> Idempotency {
        self.channel.idempotency(request)
    }
}

impl Tree {
    pub(crate) fn new(clock: &Clock, text: &str) -> Self {
        let tree = Self {
            root: BoxCaller::new(Leaf::new(clock, "", &[(Answer::Ok, 0)])),
            leaves: Vec::new(),
            in_flight: Vec::new(),
            levels: Vec::new(),
        };
        let mut reader = Reader { clock, rest: text, tree };
        let (_, root) = reader.channel();
        assert!(reader.rest.trim().is_empty(), "left over: {}", reader.rest);
        Tree { root, ..reader.tree }
    }

    /// Whether every count is back at zero.
    pub(crate) fn is_idle(&self) -> bool {
        let leaves = || self.leaves.iter().map(|leaf| leaf.0.in_flight.load(Ordering::SeqCst));
        self.in_flight.iter().all(|count| count() == 0) && leaves().all(|count| count == 0)
    }

    /// The starts and the cancels of the leaves: `a@0 b@10; dropped a`.
    pub(crate) fn events(&self) -> String {
        let mut starts: Vec<_> =
            self.leaves.iter().flat_map(|leaf| leaf.starts().into_iter().map(|at| (at, leaf.0.name.clone()))).collect();
        starts.sort();
        let mut text = starts.iter().map(|(at, name)| format!("{name}@{at}")).collect::<Vec<_>>().join(" ");
        let dropped: Vec<_> = self.leaves.iter().flat_map(|leaf| vec![leaf.0.name.clone(); leaf.dropped()]).collect();
        if !dropped.is_empty() {
            text += &format!("; dropped {}", dropped.join(" "));
        }
        text
    }
}

struct Reader<'a> {
    clock: &'a Clock,
    rest: &'a str,
    tree: Tree,
}

impl<'a> Reader<'a> {
    fn take_to(&mut self, end: &[char]) -> &'a str {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, start: &str) -> bool {
        let rest = self.rest.strip_prefix(start);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn channel(&mut self) -> (String, Node) {
        self.rest = self.rest.trim_start();
        let name = self.take_to(&['=']).to_owned();
        assert!(self.eat("="), "a name and `=` at {}", self.rest);
        let is_selective = self.eat("sel{");
        if !is_selective && !self.eat("par{") {
            return (name.clone(), self.leaf(&name));
        }
        let options = self.take_to(&['}']);
        assert!(self.eat("}("));
        let mut channels = Vec::new();
        while !self.eat(")") {
            channels.push(self.channel());
            self.rest = self.rest.trim_start();
        }
        let node = if is_selective {
            self.selective(&name, options, channels)
        } else {
            self.parallel(&name, options, channels)
        };
        (name, node)
    }

    fn leaf(&mut self, name: &str) -> Node {
        let steps = self.take_to(&[' ', ')']);
        let (steps, not_idempotent) = steps.strip_suffix("!").map_or((steps, false), |steps| (steps, true));
        let step = |step: &str| {
            let (answer, delay) = step.split_once('@').unwrap_or((step, "0"));
            let answer = Answer::ALL.iter().find(|(name, _)| *name == answer).expect("an answer");
            (answer.1, delay.parse().unwrap())
        };
        let script: Vec<_> = steps.split(',').map(step).collect();
        let leaf = Leaf::with(self.clock, name, &script, not_idempotent);
        self.tree.leaves.push(leaf.clone());
        BoxCaller::new(leaf)
    }

    fn selective(&mut self, name: &str, options: &str, channels: Vec<(String, Node)>) -> Node {
        let mut builder = Selective::builder(self.clock.clone()).name(name).seed(in_order(channels.len()));
        let mut retries = 3_u8;
        for (key, value) in pairs(options) {
            let millis = || Duration::from_millis(value.parse().unwrap());
            builder = match key {
                "retry" => {
                    retries = value.parse().unwrap();
                    builder.max_retry(retries)
                }
                "backup" => builder.backup(millis()),
                "backups" => builder.max_backups(value.parse().unwrap()),
                "timeout" => builder.timeout(millis()),
                "attempt" => builder.attempt_timeout(millis()),
                "once" => builder.idempotency(Idempotency::NotIdempotent),
                // This replaces all options, so it comes first.
                "service" => builder.options(ChannelOptions { pushback_for_service: true, ..ChannelOptions::brpc() }),
                "unlimited" => builder.limits(LimitOptions::NONE),
                _ => panic!("{key} is no option of sel"),
            };
        }
        for (name, channel) in channels {
            builder = builder.channel(name, channel);
        }
        let selective = builder.build().unwrap();
        let (one, other) = (selective.clone(), selective.clone());
        let names = selective.names();
        self.tree.in_flight.push(Box::new(move || names.iter().map(|name| one.in_flight(name)).sum()));
        let begun = Arc::<AtomicUsize>::default();
        self.tree.levels.push(Level {
            name: name.into(),
            per_call: 1 + usize::from(retries),
            begun: Arc::clone(&begun),
            calls: Box::new(move || (other.counters().calls(), other.counters().attempts())),
        });
        BoxCaller::new(Uniform {
            channel: selective,
            begun,
            said: |reply: &SelectiveReply<Said>| reply.text.clone(),
            wrong: |error: &SelectiveError<Said, Wrong>| error.kind().into(),
        })
    }

    fn parallel(&mut self, name: &str, options: &str, channels: Vec<(String, Node)>) -> Node {
        let mut builder = Parallel::builder(self.clock.clone()).name(name);
        let (mut skip, mut refuse, mut bad) = (Vec::new(), None, false);
        for (key, value) in pairs(options) {
            let number = || value.parse::<usize>().unwrap();
            builder = match key {
                "fail" => builder.fail_limit(number()),
                "success" => builder.success_limit(number()),
                "timeout" => builder.timeout(Duration::from_millis(value.parse().unwrap())),
                other => {
                    match other {
                        "skip" => skip.push(number()),
                        "refuse" => refuse = Some(number()),
                        "badmerge" => bad = true,
                        _ => panic!("{key} is no option of par"),
                    }
                    builder
                }
            };
        }
        for (name, channel) in channels {
            builder = builder.channel(name, channel);
        }
        let mapped = !skip.is_empty() || refuse.is_some();
        let builder = builder.map(move |index, request: &String| match index {
            _ if refuse == Some(index) => Mapped::Refuse("refused".into()),
            _ if skip.contains(&index) => Mapped::Skip,
            _ if mapped => Mapped::Owned(format!("{request}{index}")),
            _ => Mapped::Borrowed(request),
        });
        let parallel = builder
            .merger(move |parts: &Parts<Said, Wrong>| if bad { Err("bad merge".into()) } else { Ok(shown(parts)) })
            .build()
            .unwrap();
        let (one, other) = (parallel.clone(), parallel.clone());
        self.tree.in_flight.push(Box::new(move || one.in_flight()));
        let begun = Arc::<AtomicUsize>::default();
        self.tree.levels.push(Level {
            name: name.into(),
            // A parallel call is one attempt.
            per_call: 1,
            begun: Arc::clone(&begun),
            calls: Box::new(move || (other.counters().calls(), other.counters().attempts())),
        });
        BoxCaller::new(Uniform {
            channel: parallel,
            begun,
            said: |reply: &ParallelReply<String, Said, Wrong>| (**reply).clone(),
            wrong: |error: &ParallelError<Said, Wrong>| format!("{}[{}]", error.kind(), shown(error.parts())),
        })
    }
}

fn pairs(options: &str) -> impl Iterator<Item = (&str, &str)> {
    options.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The results of parts: a reply, `!error`, `-` for skipped, `x` for cancelled, `?` for missing.
pub(crate) fn shown(parts: &Parts<Said, Wrong>) -> String {
    let show = |part: &hedge_compose::Part<Said, Wrong>| match &part.result {
        PartResult::Reply(reply) => reply.text.clone(),
        PartResult::Failed(error) => format!("!{}", error.kind),
        PartResult::Skipped => "-".into(),
        PartResult::Cancelled => "x".into(),
        _ => "?".into(),
    };
    parts.iter().map(show).collect::<Vec<_>>().join("+")
}

/// A seed with which the first call of a selective channel tries its sub-channels in the order of their names.
pub(crate) fn in_order(count: usize) -> u64 {
    static SEEDS: OnceLock<Mutex<Vec<Option<u64>>>> = OnceLock::new();
    let mut seeds = SEEDS.get_or_init(|| Mutex::new(vec![None; 16])).lock().unwrap();
    *seeds[count].get_or_insert_with(|| (0..).find(|seed| count < 2 || tries_in_order(count, *seed)).unwrap())
}

fn tries_in_order(count: usize, seed: u64) -> bool {
    let clock = Clock::default();
    let leaves: Vec<_> = (0..count).map(|_| Leaf::new(&clock, "", &[(Answer::Fail, 1)])).collect();
    let retries = u8::try_from(count - 1).unwrap().min(7);
    let mut builder = Selective::builder(clock.clone()).seed(seed).max_retry(retries).limits(LimitOptions::NONE);
    for (index, leaf) in leaves.iter().enumerate() {
        builder = builder.channel(format!("{index}"), leaf.clone());
    }
    let selective = builder.build().unwrap();
    let options = CallOptions { timeout: Some(Timeout::NEVER), ..CallOptions::new() };
    let _ = clock.run(selective.call_with(&String::new(), &options));
    leaves.iter().zip(0..).all(|(leaf, at)| leaf.starts() == [at])
}

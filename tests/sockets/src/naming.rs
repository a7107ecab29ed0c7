//! A program's own source of servers: lists that come late, change under calls, or do not come.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hedge_net::{
    BoxNaming, BuildError, CallOptions, CancelToken, Channel, End, NameError, Naming, NamingError, NamingErrorKind,
    Outcome as _, Runtime, Schemes, Server, Update, Verdict,
};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::watched::Watched;
use super::{HttpBuilder, assert_settled, both, get, refused, server};

/// A source that says what the test says. Clones are the same source.
#[derive(Clone, Default)]
pub struct Feed {
    steps: Arc<Mutex<Vec<Result<Update, NamingError>>>>,
    said: Signal,
    taken: usize,
    /// Raised when the source is asked: what it said before has been taken in then.
    pub asked: Signal,
}

impl Naming for Feed {
    async fn next(&mut self) -> Result<Update, NamingError> {
        self.asked.raise();
        self.said.reached(self.taken + 1).await;
        self.taken += 1;
        self.steps.lock().unwrap()[self.taken - 1].clone()
    }
}

impl Feed {
    pub fn says(&self, servers: &[Server]) {
        self.step(Ok(Update::Reset { servers: servers.to_vec(), rejected: Vec::new() }));
    }

    fn step(&self, step: Result<Update, NamingError>) {
        self.steps.lock().unwrap().push(step);
        self.said.raise();
    }

    fn fails(&self) {
        self.step(Err(NamingError::new("feed://users", NamingErrorKind::NotFound)));
    }

    /// Waits until so many steps have been taken in.
    pub async fn taken_in(&self, steps: usize) {
        self.asked.reached(steps + 1).await;
    }

    fn schemes(&self) -> Schemes {
        let own = self.clone();
        let open = move |name: &str| match name {
            "users" => Ok(BoxNaming::new(own.clone())),
            _ => Err(NamingError::new(format!("feed://{name}"), NamingErrorKind::Invalid)),
        };
        Schemes::new().with("feed", open).unwrap()
    }

    pub fn builder<R: Runtime>(&self, runtime: &R) -> HttpBuilder<R> {
        let builder = Channel::builder(runtime.clone(), "feed://users").schemes(self.schemes()).load_balancer("rr");
        builder.timeout(super::PATIENCE).connect_timeout(super::PATIENCE).seed(1)
    }
}

pub async fn n3_the_list_follows_its_source_while_calls_run<R: Runtime>(runtime: R) {
    let gate = Signal::new();
    let held = gate.clone();
    let old = TestServer::answering(move |_| {
        held.block_until(1);
        ok("old")
    });
    let (new, feed) = (TestServer::answering(|_| ok("new")), Feed::default());
    let channel = feed.builder(&runtime).build().unwrap();
    assert_eq!(feed.asked.count(), 0, "nothing is asked before the first call");
    let change = async {
        feed.taken_in(0).await;
        feed.says(&[server(old.address), Server::new(refused(), "gone soon")]);
        old.requests.reached(1).await;
        let (insert, remove) = (vec![server(new.address)], channel.servers());
        feed.step(Ok(Update::Change { insert, remove }));
        feed.taken_in(2).await;
        assert_eq!(channel.servers(), [server(new.address)]);
        assert_eq!(channel.call(get("/")).await.unwrap().body().bytes().unwrap(), "new");
        gate.raise();
    };
    let (reply, ()) = both(channel.call(get("/")), change).await;
    assert_eq!(*reply.unwrap().server().unwrap(), server(old.address), "a call at a removed server goes on (L20)");
    assert_eq!(channel.naming().unwrap().updates, 2);

    feed.says(&[]);
    feed.taken_in(3).await;
    assert_eq!(channel.call(get("/")).await.unwrap_err().kind(), "no_server", "an empty list is an answer (N2)");
    assert_settled(&channel);
}

pub async fn n2_a_source_that_fails_keeps_the_list_and_is_asked_again<R: Runtime>(runtime: R) {
    let (there, feed) = (TestServer::answering(|_| ok("")), Feed::default());
    let filter =
        |server: &Server| if &*server.tag == "bad" { std::panic::resume_unwind(Box::new("bad")) } else { true };
    let channel = feed.builder(&runtime).filter(filter).build().unwrap();
    feed.step(Ok(Update::from_lines(&format!("{}\nnot a server", there.address))));
    channel.ready().await;
    let rejected = channel.naming().unwrap().rejected;
    assert_eq!((rejected.len(), rejected[0].0), (1, 2));

    feed.fails();
    // It is asked again after the pause.
    feed.taken_in(2).await;
    assert_eq!(channel.naming().unwrap().error.unwrap().to_string(), "feed://users: not found");
    assert_eq!(channel.servers(), [server(there.address)]);
    channel.call(get("/")).await.unwrap();

    feed.says(&[Server::new(there.address, "bad")]);
    feed.taken_in(3).await;
    let status = channel.naming().unwrap();
    assert_eq!(status.error.unwrap().to_string(), "feed://users: the list was refused: the channel's filter panicked");
    assert_eq!((status.updates, channel.servers()), (1, vec![server(there.address)]));

    feed.says(&[Server::new(there.address, "back")]);
    feed.taken_in(4).await;
    assert_eq!(channel.naming().unwrap().error, None);
    assert_eq!(*channel.call(get("/")).await.unwrap().server().unwrap(), Server::new(there.address, "back"));
}

pub async fn n5_a_call_waits_for_the_first_list_at_most_to_its_deadline<R: Runtime>(runtime: R) {
    let (there, feed, ended) = (TestServer::answering(|_| ok("")), Feed::default(), Signal::new());
    let tell = ended.clone();
    let on_end = move |call: &hedge_net::CallEnd<'_>| {
        assert_eq!(call.report().attempts().is_empty(), call.report().end() != Some(End::Accepted));
        tell.raise();
    };
    let channel = feed.builder(&runtime).on_end(on_end).build().unwrap();
    let short = CallOptions::new().with_timeout(Duration::from_millis(50));
    let error = channel.call_with(get("/"), &short).await.unwrap_err();
    assert_eq!((error.kind(), error.report().attempts().len()), ("no_list", 0));
    assert!(!error.to_string().contains("feed"), "{error}");
    assert!(error.all_down() && error.never_left() && error.verdict() == Verdict::Wait);

    feed.fails();
    feed.taken_in(1).await;
    let error = channel.call_with(get("/"), &short).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("no list of servers after ") && text.ends_with(": feed://users: not found"), "{text}");
    assert_eq!(ended.count(), 2);

    let token = CancelToken::new();
    let cancelled = CallOptions { cancel: Some(token.clone()), ..CallOptions::new() };
    let (reply, ()) = both(channel.call_with(get("/"), &cancelled), async { token.cancel() }).await;
    assert_eq!(reply.unwrap_err().kind(), "cancelled", "L12");

    let own = CallOptions { servers: Some(vec![server(there.address)]), ..CallOptions::new() };
    channel.call_with(get("/"), &own).await.expect("a call that names its servers needs no list (S8)");

    let waiting = async { both(channel.call(get("/")), channel.call(get("/"))).await };
    let ((one, other), ()) = both(waiting, async { feed.says(&[server(there.address)]) }).await;
    assert!(one.is_ok() && other.is_ok());
    assert_settled(&channel);
}

pub async fn n6_a_source_is_followed_by_one_task_that_ends_with_the_channel<R: Runtime>(runtime: R) {
    let (runtime, feed) = (Watched::new(runtime), Feed::default());
    let fixed = super::list(&runtime, &[refused()]).build().unwrap();
    fixed.ready().await;
    assert_eq!((runtime.begun.count(), fixed.naming()), (0, None), "a list in the URL costs no task");

    let channel = feed.builder(&runtime).build().unwrap();
    assert_eq!(runtime.begun.count(), 0);
    feed.says(&[server(refused())]);
    both(channel.ready(), channel.clone().ready()).await;
    assert_eq!((runtime.begun.count(), runtime.ended.count()), (1, 0));
    drop(channel);
    runtime.ended.reached(1).await;

    // The same through the builder, and dropped while it waits.
    let channel = super::list(&runtime, &[]).naming(Feed::default()).build().unwrap();
    let short = CallOptions::new().with_timeout(Duration::from_millis(1));
    assert_eq!(channel.call_with(get("/"), &short).await.unwrap_err().kind(), "no_list");
    drop(channel);
    runtime.ended.reached(2).await;
}

pub async fn n4_a_url_of_a_source_needs_a_balancer_and_a_known_scheme<R: Runtime>(runtime: R) {
    let feed = Feed::default();
    let error = |url: &str| Channel::builder(runtime.clone(), url).schemes(feed.schemes()).build().unwrap_err();
    assert_eq!(
        error("feed://users").to_string(),
        "\"feed://users\" needs a load balancer: add .load_balancer(\"rr\"), or name one host:port"
    );
    // Those that are built in are known besides the program's own.
    let unknown = "unknown naming scheme \"bns\"; known are ";
    assert!(error("bns://a:1").to_string().starts_with(unknown), "{}", error("bns://a:1"));
    for known in ["feed://", "file://", "http://", "https://", "list://"] {
        assert!(error("bns://a:1").to_string().contains(known), "{known}");
    }
    assert!(matches!(error("feed://x"), BuildError::Servers(NameError::Source(_))));
    assert_eq!(error("feed://x").to_string(), "feed://x: not valid");
}

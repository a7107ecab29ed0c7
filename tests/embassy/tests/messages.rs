//! The crate's messages, by `log`.

mod common;

use std::sync::Mutex;

use common::Setup;
use embassy_time::Timer;
use hedge_core::bounded::BoundedSpan;
use hedge_core::policy::ChannelOptions;
use hedge_embassy::Request;
use hedge_embassy_tests::Behaviour;

static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Kept;

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("hedge_embassy") {
            MESSAGES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn messages_tell_what_happens_to_servers_and_calls() {
    log::set_logger(&Kept).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let Setup { world, channel, mut checks, servers, .. } = Setup::new(ChannelOptions::brpc());
    world.spawn(async move { match checks.run().await {} });
    servers[0].becomes(Behaviour::Closed);
    world.run(async move {
        channel.set_check_interval(BoundedSpan::of_millis::<50>());
        channel.call(&Request::get("/")).await.unwrap();
        servers[0].becomes(Behaviour::answers(200, "", ""));
        Timer::after_millis(100).await;
    });
    let expected = [
        "DEBUG attempt 0 at server 0.0: connection refused",
        "WARN server 0.0 cannot be connected to: isolated",
        "DEBUG attempt 1 at server 1.0: answered",
        "DEBUG call ended after 6 ms: 2 attempts",
        "DEBUG check of server 0.0: passed",
        "INFO server 0.0 is back",
    ];
    assert_eq!(*MESSAGES.lock().unwrap(), expected);
}

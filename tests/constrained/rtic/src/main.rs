//! A hedged call under RTIC. `init` makes the channel, which is static, and the call, which is a local of the task `step`.
//! That task is bound to a spare interrupt. The timer's task pends this interrupt when the call has to be polled again, and
//! the network's task pends it when there is an answer. If it is pended while the task runs, the task runs once more, so no
//! event is missed.

#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(unsafe_code, reason = "RTIC's macro makes unsafe code")]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(false)
}

/// Ends QEMU with the verdict.
#[cfg(target_os = "none")]
fn exit(passed: bool) -> ! {
    use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
    debug::exit(if passed { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(target_os = "none")]
#[rtic::app(device = lm3s6965)]
mod app {
    use core::net::{Ipv4Addr, SocketAddrV4};

    use cortex_m::peripheral::syst::SystClkSource;
    use cortex_m_semihosting::hprintln;
    use hedge_core::balance::RoundRobin;
    use hedge_core::call::{Action, Call, Input};
    use hedge_core::channel::Channel;
    use hedge_core::id::AttemptId;
    use hedge_core::outcome::{End, Verdict};
    use hedge_core::policy::{BackupDelay, CallOptions, ChannelOptions, NoPolicy};
    use hedge_core::time::{Duration, Instant, Micros, Timeout};
    use lm3s6965::Interrupt;

    /// A channel to at most four servers.
    type Line = Channel<SocketAddrV4, RoundRobin, NoPolicy, (), 4>;

    /// How many cycles of this machine a millisecond has.
    const MILLISECOND: u32 = 12_000;

    #[shared]
    struct Shared {
        /// The time, which the timer's task counts.
        now: Instant,
        /// When the call has to be polled again.
        until: Option<Instant>,
        /// The attempt of each connection: to the first server and to the second.
        connections: [Option<AttemptId>; 2],
        /// An attempt that was answered and that the call was not told of yet.
        answered: Option<AttemptId>,
    }

    #[local]
    struct Local {
        call: Call<'static, &'static Line>,
    }

    #[init(local = [line: Option<Line> = None, own: CallOptions<'static> = CallOptions::new()])]
    fn init(cx: init::Context) -> (Shared, Local) {
        let Some(line) = line() else { crate::exit(false) };
        // Locals of `init` are static, so a borrow of them may be static too.
        let line: &'static Line = cx.local.line.insert(line);
        let own: &'static CallOptions<'static> = cx.local.own;
        let now = Instant::ZERO;
        let Ok(call) = line.call(own, now) else { crate::exit(false) };
        let mut timer = cx.core.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(MILLISECOND - 1);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        rtic::pend(Interrupt::UART0);
        (Shared { now, until: None, connections: [None; 2], answered: None }, Local { call })
    }

    fn line() -> Option<Line> {
        let options = ChannelOptions {
            timeout: Timeout::NEVER,
            backup: BackupDelay::after(Duration::from_millis(8)),
            ..ChannelOptions::brpc()
        };
        let mut line = Line::with_policy(options, RoundRobin::starting_at(0), NoPolicy, 7);
        for port in [8001, 8002] {
            line.insert(SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), port), ()).ok()?;
        }
        Some(line)
    }

    /// Polls the call and does what it asks for, until it has to wait.
    #[task(binds = UART0, local = [call], shared = [now, until, connections, answered], priority = 1)]
    fn step(cx: step::Context) {
        let step::SharedResources { mut now, mut until, mut connections, mut answered, .. } = cx.shared;
        let call = cx.local.call;
        let now = now.lock(|now| *now);
        if let Some(attempt) = answered.lock(Option::take) {
            call.handle(now, Input::finished(attempt, Verdict::Accept));
        }
        loop {
            match call.poll(now) {
                Action::Start(start) => {
                    // A real program sends its request to this address here.
                    let second = call.host().cluster().address(start.server).is_some_and(|to| to.port() == 8002);
                    connections.lock(|connections| {
                        if let Some(connection) = connections.get_mut(usize::from(second)) {
                            *connection = Some(start.attempt);
                        }
                    });
                    // The first server stalls. The second answers while this task still runs.
                    if second {
                        rtic::pend(Interrupt::GPIOA);
                    }
                }
                Action::Abandon { attempt } => connections.lock(|connections| {
                    for connection in connections.iter_mut() {
                        // A real program closes the connection here.
                        let _ = connection.take_if(|it| *it == attempt);
                    }
                }),
                Action::Wait { until: at } => return until.lock(|until| *until = at),
                Action::Done(end) => {
                    let (report, left) = (call.report(), connections.lock(|connections| *connections));
                    let passed = end == End::Accepted
                        && (report.backups(), left) == (1, [None; 2])
                        && report.elapsed_micros() >= Micros::from_millis(8);
                    hprintln!(
                        "{} a call whose first server stalls ends by its backup",
                        if passed { "ok" } else { "FAIL" }
                    );
                    crate::exit(passed);
                }
            }
        }
    }

    /// A millisecond has passed.
    #[task(binds = SysTick, shared = [now, until], priority = 3)]
    fn tick(cx: tick::Context) {
        let tick::SharedResources { mut now, mut until, .. } = cx.shared;
        let now = now.lock(|now| {
            *now = *now + Micros::from_millis(1);
            *now
        });
        if until.lock(|until| until.take_if(|at| *at <= now)).is_some() {
            rtic::pend(Interrupt::UART0);
        }
    }

    /// The second server has answered.
    #[task(binds = GPIOA, shared = [connections, answered], priority = 2)]
    fn network(cx: network::Context) {
        let network::SharedResources { mut connections, mut answered, .. } = cx.shared;
        let second = connections.lock(|[_, second]| second.take());
        answered.lock(|answered| *answered = second);
        rtic::pend(Interrupt::UART0);
    }
}

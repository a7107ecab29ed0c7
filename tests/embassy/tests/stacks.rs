//! embassy-net's own client as the stack, and several calls at once.

mod common;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::{ALL_FREE, Setup, WIRE, hedged, line_of};
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_time::Timer;
use embedded_io_async::{ErrorType, Read, Write};
use embedded_nal_async::TcpConnect;
use hedge_core::balance::RoundRobin;
use hedge_core::health::Health;
use hedge_core::policy::NoPolicy;
use hedge_embassy::{Channel, Choice, Request, Resources};
use hedge_embassy_tests::{Network, Server, Stall, World};

const GET: Request<'_> = Request::get("/");

/// A stack whose connections are counted.
struct Counted<S> {
    stack: S,
    open: Cell<usize>,
    most: Cell<usize>,
}

struct Connection<'a, C> {
    connection: C,
    open: &'a Cell<usize>,
}

impl<C> Drop for Connection<'_, C> {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl<S: TcpConnect> TcpConnect for Counted<S> {
    type Error = S::Error;
    type Connection<'a>
        = Connection<'a, S::Connection<'a>>
    where
        Self: 'a;

    async fn connect<'a>(&'a self, remote: SocketAddr) -> Result<Self::Connection<'a>, S::Error> {
        let connection = self.stack.connect(remote).await?;
        self.open.set(self.open.get() + 1);
        self.most.set(self.most.get().max(self.open.get()));
        Ok(Connection { connection, open: &self.open })
    }
}

impl<C: ErrorType> ErrorType for Connection<'_, C> {
    type Error = C::Error;
}

impl<C: Read> Read for Connection<'_, C> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, C::Error> {
        self.connection.read(buffer).await
    }
}

impl<C: Write> Write for Connection<'_, C> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, C::Error> {
        self.connection.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), C::Error> {
        self.connection.flush().await
    }
}

#[test]
fn embassy_nets_own_client_gets_its_sockets_back() {
    type Memory = Resources<Choice<RoundRobin, NoPolicy, common::Mutex>, 4, 2, 512>;
    let world = World::new();
    let network = Network::new(&world, WIRE);
    let state: &'static TcpClientState<2, 512, 512> = Box::leak(Box::new(TcpClientState::new()));
    let stack = TcpClient::new(network.near, state);
    let stack: &'static _ = Box::leak(Box::new(Counted { stack, open: Cell::new(0), most: Cell::new(0) }));
    let memory: &'static mut Memory = Box::leak(Box::default());
    let (options, balancer) = (hedged(6), RoundRobin::starting_at(0));
    let (channel, _) = Channel::new(stack, memory, options, balancer, NoPolicy, Health::none(), 7);
    let servers = [8001, 8002, 8003].map(|port| Server::new(&world, network.far, port, Stall::USUAL, 6));
    channel.set_servers(servers.iter().map(|server| (server.address, ""))).unwrap();
    world.run(async move {
        let mut backups = 0;
        for call in 0..150 {
            let reply = channel.call(&GET).await;
            assert_eq!(stack.open.get(), 0, "call {call}");
            backups += reply.unwrap().report().backups();
            // The client forgets connections without a message. The servers have few sockets and need time to find out.
            Timer::after_millis(300).await;
        }
        assert!(backups > 3 && stack.most.get() == 2, "{backups} backups");
        // Both sockets of the pool are free.
        let both = embassy_futures::join::join(stack.connect(servers[0].address), stack.connect(servers[1].address));
        assert!(matches!(both.await, (Ok(_), Ok(_))));
    });
}

#[test]
fn two_calls_of_two_attempts_at_once_share_four_buffers() {
    let run = || {
        let setup = Setup::over(hedged(6), WIRE, Stall::USUAL);
        let (channel, sockets) = (setup.channel, setup.sockets);
        let log = Rc::new(std::cell::RefCell::new(Vec::new()));
        let running = Rc::new(Cell::new(2));
        for caller in 0..2 {
            let (log, running) = (Rc::clone(&log), Rc::clone(&running));
            setup.world.spawn(async move {
                for _ in 0..300 {
                    let reply = channel.call(&GET).await.unwrap();
                    log.borrow_mut().push(format!("{caller} {}", line_of(reply.report())));
                }
                running.set(running.get() - 1);
            });
        }
        setup.world.run(async move {
            while running.get() > 0 {
                Timer::after_millis(1).await;
            }
            assert_eq!((channel.free_buffers(), sockets.free()), ALL_FREE);
        });
        log.take()
    };
    let log = run();
    assert_eq!(log.len(), 600);
    assert!(log.iter().filter(|line| line.contains("Backup")).count() > 10);
    assert_eq!(run(), log);
}

//! Channels whose servers are named by a built-in source: a file, or the addresses of a host.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hedge_net::{Channel, Observer, Resolve, Runtime, ServerChange, ServerRef};

use super::server::{TestServer, ok};
use super::signal::Signal;
use super::{HttpBuilder, PATIENCE, assert_settled, get, server};

/// A file of servers, which is removed at the end.
struct ServerFile(PathBuf);

impl ServerFile {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("hedge-servers-{}-{number}", std::process::id())))
    }

    /// Replaces the file in one step.
    fn write(&self, servers: &[SocketAddr]) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, servers.iter().map(|server| format!("{server}\n")).collect::<String>()).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn builder<R: Runtime>(&self, runtime: &R) -> HttpBuilder<R> {
        let builder = Channel::builder(runtime.clone(), format!("file://{}", self.0.display())).load_balancer("rr");
        builder.timeout(PATIENCE).connect_timeout(PATIENCE).seed(1)
    }
}

impl Drop for ServerFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Raises a signal for each server that enters or leaves the list.
struct Changes(Signal);

impl Observer for Changes {
    fn server_changed(&self, _: &ServerRef<'_>, _: ServerChange) {
        self.0.raise();
    }
}

pub async fn n1_a_file_is_followed_while_calls_run<R: Runtime>(runtime: R) {
    let (old, new) = (TestServer::answering(|_| ok("old")), TestServer::answering(|_| ok("new")));
    let (file, changes) = (ServerFile::new(), Signal::new());
    file.write(&[old.address]);
    let channel = file.builder(&runtime).observer(Arc::new(Changes(changes.clone()))).build().unwrap();
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "old", "the first call waits for the file (N5)");
    file.write(&[new.address]);
    changes.reached(3).await;
    assert_eq!(channel.servers(), [server(new.address)]);
    assert_eq!(channel.get("/").await.unwrap().text().unwrap(), "new");
    assert_settled(&channel);
}

pub async fn n6_channels_that_name_one_url_share_one_watcher<R: Runtime>(runtime: R) {
    let (there, file) = (TestServer::answering(|_| ok("here")), ServerFile::new());
    file.write(&[there.address]);
    let (first, second) = (file.builder(&runtime).build().unwrap(), file.builder(&runtime).build().unwrap());
    first.ready().await;
    std::fs::remove_file(&file.0).unwrap();
    second.ready().await;
    assert_eq!(second.servers(), [server(there.address)], "the list that the first one has read");
    assert!(second.call(get("/")).await.is_ok());
}

/// Resolves every name to two addresses of loopback.
struct Two;

impl Resolve for Two {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv4Addr::new(127, 0, 0, 2), port).into()])
    }
}

pub async fn n4_an_http_url_with_a_balancer_is_every_address_of_the_host<R: Runtime>(runtime: R) {
    let there = TestServer::answering(|seen| ok(&seen.head));
    let port = there.address.port();
    let url = format!("http://Service.test:{port}/api");
    let builder = Channel::builder(runtime, &url).resolver(Two).timeout(PATIENCE).connect_timeout(PATIENCE);
    let channel = builder.load_balancer("rr").seed(1).build().unwrap();
    channel.ready().await;
    let servers: Vec<String> = channel.servers().iter().map(ToString::to_string).collect();
    assert_eq!(servers, [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")]);
    let head = channel.get("/users").await.unwrap().text().unwrap();
    assert!(head.starts_with("GET /api/users HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: Service.test:{port}\r\n")), "the host of the URL (C6): {head}");
}

//! Looks up host names: [`lookup`].

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};

use crate::blocking::Blocking;

/// Looks up the addresses of a host with the resolver of the operating system, and returns them with this port. This is
/// the default of [`BoxResolve`](crate::BoxResolve).
///
/// The resolver of the operating system may block for any length of time and cannot be stopped. So it runs on threads
/// of its own. There are at most 16 of these threads in the whole process, and a thread ends when no name is left to
/// look up. Callers that ask for the same name at the same time share one look-up. A look-up that finds no free thread
/// waits in a queue. Dropping the future ends the wait. If all callers of a look-up have left while it is in the queue,
/// the look-up is not started.
///
/// # Errors
/// Returns the error of the resolver. If no thread could be started and no thread is running, returns the error of the
/// operating system.
///
/// # Cost
/// A look-up takes one thread, which takes about 50 µs to start. Each caller that waits costs one allocation.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    static PROCESS: LazyLock<Blocking<Arc<str>, Arc<[IpAddr]>>> =
        LazyLock::new(|| Blocking::new("hedge-lookup", |host: &Arc<str>| resolve(host)));

    let addresses = PROCESS.run(host.into()).await?;
    Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
}

fn resolve(host: &str) -> io::Result<Arc<[IpAddr]>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

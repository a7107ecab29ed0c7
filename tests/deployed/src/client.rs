//! Channels to the servers of a run: [`builder`].

use std::error::Error;
use std::fs;

use hedge_net::http::Http;
use hedge_net::{Builder, Channel, Protocol as Speaks, Runtime, Tls};

use crate::certificate::{Certificate, NAME};
use crate::counting::Counting;
use crate::protocol::Protocol;
use crate::server::Server;

/// A channel on a runtime that counts its tasks.
pub(crate) type CountedChannel<R> = Channel<Counting<R>, Http<Counting<R>>>;

/// A builder of such channels.
pub(crate) type CountedBuilder<R> = Builder<Counting<R>, Http<Counting<R>>>;

/// A builder of channels that speak a protocol with these servers. Over TLS, the servers choose the version of HTTP.
///
/// # Errors
/// The root certificate cannot be read.
pub(crate) fn builder<R: Runtime>(
    runtime: &Counting<R>,
    protocol: Protocol,
    certificate: &Certificate,
    servers: &[Server],
) -> Result<CountedBuilder<R>, Box<dyn Error>> {
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
    let builder = Channel::builder(runtime.clone(), format!("list://{}", addresses.join(","))).load_balancer("p2c");
    Ok(match protocol {
        Protocol::Http1 => builder,
        Protocol::Http2 => builder.protocol(Speaks::H2),
        Protocol::Http1Tls | Protocol::Http2Tls => {
            let tls = Tls::builder().root_pem(&fs::read(certificate.root())?).build()?;
            builder.tls(tls).tls_name(NAME)
        }
    })
}

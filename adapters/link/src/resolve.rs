//! Resolves host names: the trait [`Resolve`], and resolvers whose type is hidden, [`BoxResolve`].

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::lookup::lookup;

/// Resolves the name of a host to its addresses. A name is resolved for each connection, so a resolver should cache its
/// answers for some time.
pub trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of a host with this port, beginning with the preferred address. Only the first 256
    /// addresses are used. Dropping the future ends the wait.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// A resolver whose type is hidden. All clones are the same resolver. Two values are equal only if one is a clone of
/// the other. The default is the resolver of the operating system, see [`lookup()`]; all defaults are equal.
#[derive(Clone, Default)]
pub struct BoxResolve(Option<Arc<dyn DynResolve>>);

impl BoxResolve {
    /// Wraps a resolver and hides its type.
    pub fn new(resolver: impl Resolve) -> Self {
        Self(Some(Arc::new(resolver)))
    }
}

impl Resolve for BoxResolve {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            Some(resolver) => resolver.resolve(host, port).await,
            None => lookup(host, port).await,
        }
    }
}

impl PartialEq for BoxResolve {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for BoxResolve {}

impl Hash for BoxResolve {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ref().map(|resolver| Arc::as_ptr(resolver).cast::<()>()).hash(state);
    }
}

impl fmt::Debug for BoxResolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "BoxResolve(the program's)" } else { "BoxResolve(the system's)" })
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// The trait [`Resolve`] with a boxed future.
trait DynResolve: Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Answer<'a>;
}

impl<R: Resolve> DynResolve for R {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Answer<'a> {
        Box::pin(Resolve::resolve(self, host, port))
    }
}

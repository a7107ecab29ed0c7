//! What the tests share: both runtimes, and a folder that is removed.
#![allow(dead_code, unreachable_pub, reason = "not every test needs all of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use hedge_fleet::{BoxNaming, Naming as _, NamingError, ParsedName, Schemes, Update};

/// Makes a test on tokio and a test on smol of each generic function.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod tokio_ {
            $(#[test]
            fn $name() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(super::$name(hedge_tokio::Tokio::new()));
            })*
        }

        mod smol_ {
            $(#[test]
            fn $name() {
                smol::block_on(super::$name(hedge_smol::Smol::new()));
            })*
        }
    };
}
pub(crate) use on_both;

/// A folder of a test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hedge-naming-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in one step, by a rename.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.path(&format!(".{name}.new"));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    pub fn url(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a source.
pub fn open(schemes: &Schemes, url: &str) -> BoxNaming {
    match schemes.open(url).unwrap() {
        ParsedName::Followed(naming) => naming,
        other => panic!("{url} is no source: {other:?}"),
    }
}

/// The servers of an answer, and the numbers of the lines that are none.
pub fn servers(answer: Result<Update, NamingError>) -> (Vec<String>, Vec<usize>) {
    match answer {
        Ok(Update::Reset { servers, rejected }) => (
            servers.iter().map(ToString::to_string).collect(),
            rejected.into_iter().map(|(number, _)| number).collect(),
        ),
        other => panic!("no list: {other:?}"),
    }
}

/// The servers of the next answer, without a line that is none.
pub async fn next(naming: &mut BoxNaming) -> Vec<String> {
    let (servers, rejected) = servers(naming.next().await);
    assert!(rejected.is_empty(), "{rejected:?}");
    servers
}

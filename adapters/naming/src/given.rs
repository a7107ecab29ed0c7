//! The token and the root certificates, which may stand in files: [`read`].

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hedge_link::{Blocking, Credential};

use super::{Given, Settings};

/// The most bytes of a file.
const MOST: u64 = 1 << 20;

/// A file that could not be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) path: Arc<Path>,
    pub(super) error: io::Error,
}

/// The files to read: that of the token, and that of the root certificates.
type Files = [Option<Arc<Path>>; 2];

/// What the files hold. The error of a file is kept as its kind and its text, since `io::Error` cannot be cloned.
type Contents = [Option<Content>; 2];

type Content = Result<Arc<[u8]>, (io::ErrorKind, Arc<str>)>;

/// Reads the token and the root certificates. If one stands in a file, a thread reads it, since a file may block. Files that
/// block are read by one thread, however often they are asked for.
pub(super) async fn read(settings: &Settings) -> Result<(Credential, Arc<[u8]>), Unreadable> {
    static PROCESS: LazyLock<Blocking<Files, Contents>> =
        LazyLock::new(|| Blocking::new("hedge-token", |files: &Files| Ok(files.each_ref().map(content))));

    let files = [settings.token.path(), settings.roots.path()];
    let [token, roots] = match files.iter().flatten().next().cloned() {
        None => Contents::default(),
        Some(path) => PROCESS.run(files).await.map_err(|error| Unreadable { path, error })?,
    };
    let token = match &settings.token {
        Given::Value(token) => token.clone(),
        Given::File(path) => {
            let bytes = given(path, token)?;
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            if text.is_empty() {
                return Err(Unreadable { path: Arc::clone(path), error: io::Error::other("the file is empty") });
            }
            Credential::new(text)
        }
    };
    let roots = match &settings.roots {
        Given::Value(roots) => Arc::clone(roots),
        Given::File(path) => given(path, roots)?,
    };
    Ok((token, roots))
}

impl<T> Given<T> {
    fn path(&self) -> Option<Arc<Path>> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(Arc::clone(path)),
        }
    }
}

/// The content of one file.
fn given(path: &Arc<Path>, content: Option<Content>) -> Result<Arc<[u8]>, Unreadable> {
    let content = content.unwrap_or_else(|| Err((io::ErrorKind::Other, "the file was not read".into())));
    content.map_err(|(kind, text)| Unreadable { path: Arc::clone(path), error: io::Error::new(kind, &*text) })
}

/// Reads a file. This blocks.
fn content(path: &Option<Arc<Path>>) -> Option<Content> {
    let read = |path: &Arc<Path>| {
        let mut bytes = Vec::new();
        let size = std::fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if size as u64 > MOST { Err(io::Error::other("the file is larger than 1 MiB")) } else { Ok(bytes.into()) }
    };
    path.as_ref().map(|path| read(path).map_err(|error| (error.kind(), error.to_string().into())))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use hedge_core::time::Duration;
    use std::fs;
    use std::pin::pin;
    use std::process::Command;
    use std::task::{Context, Waker};

    /// The threads of this process that read tokens.
    fn threads() -> usize {
        let names = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
            // A thread may have ended meanwhile.
            fs::read_to_string(task.unwrap().path().join("comm")).ok()
        });
        names.filter(|name| name.trim() == "hedge-token").count()
    }

    #[test]
    fn p1_a_file_that_blocks_holds_one_thread() {
        let pipe = std::env::temp_dir().join(format!("hedge-token-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let settings = Settings {
            path: String::new(),
            port: super::super::Port::Number(1),
            tls_name: None,
            token: Given::File(pipe.as_path().into()),
            roots: Given::Value([1].as_slice().into()),
            watch_for: Duration::from_secs(1),
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..20 {
            // It is given up after a moment, as when the time is over.
            let read = pin!(read(&settings));
            assert!(read.poll(&mut cx).is_pending());
        }
        let mut last = pin!(read(&settings));
        assert!(last.as_mut().poll(&mut cx).is_pending());
        while threads() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(threads(), 1, "one for this file");
        // Opening it waits for the thread that reads.
        fs::write(&pipe, "secret\n").unwrap();
        let (token, roots) = smol::block_on(last).unwrap();
        assert_eq!((token.as_str(), &*roots), ("secret", [1].as_slice()));
        fs::remove_file(&pipe).unwrap();
    }
}

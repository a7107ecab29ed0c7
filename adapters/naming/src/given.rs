//! Credentials and certificates that the program gives, or that are in files: [`Given`].

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hedge_link::{Blocking, Credential};

/// The most bytes of a file.
const MOST: u64 = 1 << 20;

/// Something that the program gives, or that is in a file.
#[derive(Clone, Debug)]
pub(crate) enum Given<T> {
    Value(T),
    File(Arc<Path>),
}

/// A file that could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: Arc<Path>,
    pub(crate) error: io::Error,
}

/// The files to read. There are at most two: those of Kubernetes hold its token and its root certificates.
type Files = [Option<Arc<Path>>; 2];

/// What the files hold. The error of a file is kept as its kind and its text, since `io::Error` cannot be cloned.
type Contents = [Option<Content>; 2];

type Content = Result<Arc<[u8]>, (io::ErrorKind, Arc<str>)>;

impl Given<Credential> {
    /// The present credential.
    pub(crate) async fn read(&self) -> Result<Credential, Unreadable> {
        let [content, _] = contents([self.path(), None]).await?;
        self.credential(content)
    }

    fn credential(&self, content: Option<Content>) -> Result<Credential, Unreadable> {
        let path = match self {
            Self::Value(credential) => return Ok(credential.clone()),
            Self::File(path) => path,
        };
        let bytes = held(path, content)?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.is_empty() {
            return Err(Unreadable { path: Arc::clone(path), error: io::Error::other("the file is empty") });
        }
        Ok(Credential::new(text))
    }
}

/// The present token and root certificates.
#[cfg(feature = "_tls")]
pub(crate) async fn read_both(
    token: &Given<Credential>,
    roots: &Given<Arc<[u8]>>,
) -> Result<(Credential, Arc<[u8]>), Unreadable> {
    let [token_content, roots_content] = contents([token.path(), roots.path()]).await?;
    let token = token.credential(token_content)?;
    let roots = match roots {
        Given::Value(roots) => Arc::clone(roots),
        Given::File(path) => held(path, roots_content)?,
    };
    Ok((token, roots))
}

impl<T> Given<T> {
    pub(crate) fn path(&self) -> Option<Arc<Path>> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(Arc::clone(path)),
        }
    }
}

/// Reads the files on a thread, since a file may block. If files block, one thread waits for them, however often they
/// are needed.
async fn contents(files: Files) -> Result<Contents, Unreadable> {
    static PROCESS: LazyLock<Blocking<Files, Contents>> =
        LazyLock::new(|| Blocking::new("hedge-token", |files: &Files| Ok(files.each_ref().map(content))));

    match files.iter().flatten().next().cloned() {
        None => Ok(Contents::default()),
        Some(path) => PROCESS.run(files).await.map_err(|error| Unreadable { path, error }),
    }
}

/// The content of one file.
fn held(path: &Arc<Path>, content: Option<Content>) -> Result<Arc<[u8]>, Unreadable> {
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
        let token = Given::File(pipe.as_path().into());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..20 {
            // It is given up after a moment, as when the time is over.
            let read = pin!(token.read());
            assert!(read.poll(&mut cx).is_pending());
        }
        let mut last = pin!(token.read());
        assert!(last.as_mut().poll(&mut cx).is_pending());
        while threads() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(threads(), 1, "one for this file");
        // Opening it waits for the thread that reads.
        fs::write(&pipe, "secret\n").unwrap();
        assert_eq!(smol::block_on(last).unwrap().as_str(), "secret");
        fs::remove_file(&pipe).unwrap();
    }
}

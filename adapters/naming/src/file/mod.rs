//! Servers from a file: [`FileNaming`].

mod look;
mod settling;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use hedge_core::time::{Duration, Instant};
use hedge_fleet::{Naming, NamingError, NamingErrorKind, Update};
use hedge_link::{Blocking, Runtime, before};

use self::look::{Fault, Known, Look, Seen, Stamp};
use self::settling::{Restless, Settling};
use crate::jitter::Jitter;
use crate::options::PollInterval;

/// How often the file is looked at.
const EVERY: PollInterval = PollInterval::of_secs::<1>();
/// How long one look at the file may take. The file may be on a network file system.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// Some file systems store times in steps of 2 s. So for this time after a change was taken over, the content is
/// compared too, and not only the times.
const COARSE_TIMES: Duration = Duration::from_secs(3);

/// The threads that look at files, for all sources of the process.
static LOOKS: LazyLock<Blocking<Look, Seen>> = LazyLock::new(|| Blocking::new("hedge-file", Look::look));

/// Takes the servers from a file, and follows its changes: the source of `file://path`.
///
/// The file has one server a line, `address tag`, as [`Update::from_bytes`] reads it. An empty file is an empty list.
/// The file may have at most 64 MiB; a larger one is an error.
///
/// Every 0.8 s to 1.2 s ([`every`](Self::every)), the source compares the times and the size of the file with the last
/// ones, and on Unix also the device and the inode. If the path is a symbolic link, the same is compared for the link.
/// So every way to change a file is noticed: writing to it, renaming another file over it, and swapping a symbolic link
/// anywhere in its path, as Kubernetes does with a mounted config map. This works on network file systems too, where
/// notifications of the operating system do not work.
///
/// The file is read on a thread of its own, and only if it has changed, for 3 s after a change, and after an error.
/// What was read is taken over once the file has stayed the same for 100 ms. So a file that is half written does not
/// replace the list, if its writer does not pause for that long. A file that is empty must stay so for 1 s. To change a
/// file in one step, write another file and rename it. A new list is given only if the content has changed.
///
/// # Errors
/// The last list stays in use if the file cannot be read, is not a file, is too large, or changes for 10 s without a
/// pause. A look at the file that takes longer than 30 s is an error too.
///
/// # Cost
/// Two or three system calls every second, on a thread that is started for them.
#[derive(Debug)]
pub struct FileNaming<R> {
    runtime: R,
    path: Arc<Path>,
    /// The stamp and the hash of the content that was taken over last.
    known: Option<Known>,
    /// Until when the content is compared even if the times are the same.
    distrusted_until: Instant,
    settling: Settling<Stamp>,
    look_at: Option<Instant>,
    /// A look that did not end in time. It may still be running. Until it ends, the source waits for this same look,
    /// since another look would block one more thread.
    late: Option<Look>,
    every: PollInterval,
    jitter: Jitter,
    looks: Blocking<Look, Seen>,
}

impl<R: Runtime> FileNaming<R> {
    /// Follows the file at this path. Nothing is read before [`Naming::next`].
    pub fn new(runtime: R, path: impl Into<PathBuf>) -> Self {
        Self {
            runtime,
            path: path.into().into(),
            known: None,
            distrusted_until: Instant::ZERO,
            settling: Settling::new(),
            look_at: None,
            late: None,
            every: EVERY,
            jitter: Jitter::new(),
            looks: LOOKS.clone(),
        }
    }

    /// Parses the rest of a URL after `file://`: the path. A path that does not begin with a slash is relative to the
    /// working directory. Nothing in it is decoded.
    ///
    /// # Errors
    /// [`NamingErrorKind::Invalid`] if there is no path.
    pub fn parse(runtime: R, rest: &str) -> Result<Self, NamingError> {
        if rest.is_empty() {
            return Err(NamingError::new("file://", NamingErrorKind::Invalid).because("write a path after file://"));
        }
        Ok(Self::new(runtime, rest))
    }

    /// How often the file is looked at. Each wait is random, between 0.8 and 1.2 times this time. Default: 1 s.
    #[must_use]
    pub const fn every(mut self, time: PollInterval) -> Self {
        self.every = time;
        self
    }

    /// Looks at the file once. Returns `None` if there is no new list.
    async fn look(&mut self) -> Result<Option<Update>, NamingError> {
        let start = self.runtime.now();
        let late = self.late.take();
        let was_late = late.is_some();
        let look = late.unwrap_or_else(|| self.next_look(start));
        // If the future is dropped, the look goes on too.
        self.late = Some(look.clone()).filter(|_| was_late);
        let seen = before(&self.runtime, Some(start + LONGEST_LOOK), self.looks.run(look.clone())).await;
        let Some(seen) = seen else {
            self.late = Some(look);
            return Err(self.error(NamingErrorKind::TimedOut));
        };
        self.late = None;
        let seen = seen.map_err(|error| self.error(NamingErrorKind::Unreachable).because(error))?;
        let now = self.runtime.now();
        if was_late {
            // The list is then given even if it is the same, which tells that the file can be read again.
            self.known = None;
        }
        match seen {
            Seen::Failed(fault) => Err(self.fault(fault)),
            // The list is not at hand, so the file is read again.
            Seen::Same | Seen::Settled { update: None, .. } if was_late => Ok(None),
            Seen::Same => {
                self.settled(now);
                Ok(None)
            }
            Seen::Unsettled { stamp, still, wait } => {
                let at = self.settling.seen(stamp, still, wait, now);
                let restless = "has been changing for 10 s without a pause";
                let error = |Restless| self.error(NamingErrorKind::Invalid).because(restless);
                self.look_at = Some(at.map_err(error)?);
                Ok(None)
            }
            Seen::Settled { known, update } => {
                self.known = Some(known);
                self.distrusted_until = now + COARSE_TIMES;
                self.settled(now);
                Ok(update.map(Arc::unwrap_or_clone))
            }
        }
    }

    fn next_look(&self, now: Instant) -> Look {
        let (path, known) = (Arc::clone(&self.path), self.known.clone());
        Look { path, known, compare: now < self.distrusted_until, waited_for: self.settling.waited_for(now) }
    }

    fn settled(&mut self, now: Instant) {
        self.settling.end();
        self.look_at = Some(now + self.jitter.around(self.every.get()));
    }

    fn fault(&self, fault: Fault) -> NamingError {
        match fault {
            Fault::NoFile { is_directory: true } => self.error(NamingErrorKind::Invalid).because("is a directory"),
            Fault::NoFile { is_directory: false } => self.error(NamingErrorKind::Invalid).because("is not a file"),
            Fault::TooLarge => self.error(NamingErrorKind::Invalid).because("is larger than 64 MiB"),
            Fault::Io { kind, text } => {
                let kind = match kind {
                    std::io::ErrorKind::NotFound => NamingErrorKind::NotFound,
                    std::io::ErrorKind::PermissionDenied => NamingErrorKind::Denied,
                    _ => NamingErrorKind::Unreachable,
                };
                self.error(kind).because(&*text)
            }
        }
    }

    fn error(&self, kind: NamingErrorKind) -> NamingError {
        NamingError::new(format!("file://{}", self.path.display()), kind)
    }
}

impl<R: Runtime> Naming for FileNaming<R> {
    async fn next(&mut self) -> Result<Update, NamingError> {
        loop {
            while let Some(at) = self.look_at
                && self.runtime.now() < at
            {
                self.runtime.sleep_until(at).await;
            }
            match self.look().await {
                Ok(None) => {}
                Ok(Some(update)) => return Ok(update),
                Err(error) => {
                    // The next list is then given even if it is the same, which tells that the file can be read again.
                    self.look_at = None;
                    if self.late.is_none() {
                        self.known = None;
                    }
                    self.settling.end();
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedge_core::drive::Timer as _;
    use hedge_tokio::Tokio;
    use std::pin::pin;
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Mutex, MutexGuard};
    use std::task::{Context, Waker};

    /// What the looks of a test have done.
    #[derive(Default)]
    struct Done {
        looks: Vec<Look>,
        hanging: usize,
        most: usize,
    }

    fn lock(done: &Mutex<Done>) -> MutexGuard<'_, Done> {
        done.lock().unwrap()
    }

    /// A look that hangs until `go` ends, and then looks at the file.
    fn look(look: &Look, done: &Mutex<Done>, go: &Mutex<Receiver<()>>) -> std::io::Result<Seen> {
        let mut now = lock(done);
        now.looks.push(look.clone());
        now.hanging += 1;
        now.most = now.most.max(now.hanging);
        drop(now);
        let _ = go.lock().unwrap().recv();
        lock(done).hanging -= 1;
        look.look()
    }

    #[test]
    fn p1_a_file_system_that_hangs_holds_one_thread_for_a_file() {
        let path = std::env::temp_dir().join(format!("hedge-hangs-{}", std::process::id()));
        std::fs::write(&path, "10.0.0.1:1\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut naming = FileNaming::new(Tokio::new(), &path);
            // It has been read, and is then looked at again.
            naming.known = loop {
                let seen = naming.next_look(naming.runtime.now()).look().unwrap();
                if let Seen::Settled { known, .. } = seen {
                    break Some(known);
                }
                std::thread::yield_now();
            };
            naming.distrusted_until = naming.runtime.now() + COARSE_TIMES;
            let (done, (release, go)) = (Arc::<Mutex<Done>>::default(), channel::<()>());
            let (own, go) = (Arc::clone(&done), Mutex::new(go));
            naming.looks = Blocking::new("hedge-test", move |key: &Look| look(key, &own, &go));
            for _ in 0..5 {
                // Nothing else runs, so the clock goes on at once.
                assert_eq!(naming.next().await.unwrap_err().kind(), NamingErrorKind::TimedOut);
            }
            tokio::time::resume();
            let list = {
                let mut next = pin!(naming.next());
                assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                // Only now, since the answer of a look that is not waited for is lost.
                drop(release);
                next.await.unwrap()
            };
            assert_eq!(list, Update::from_lines("10.0.0.1:1"), "the same list ends the error");
            let done = lock(&done);
            assert_eq!(done.most, 1, "{:?}", done.looks);
            assert!(done.looks[0].known.is_some() && done.looks[1].known.is_none());
            assert_eq!(done.looks.len(), 2, "five waits for one look, and one look for the list");
        });
        std::fs::remove_file(&path).unwrap();
    }
}

//! One look at a file, on a thread that may block: [`Look`].

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hedge_fleet::Update;

/// The longest file, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

/// A file that has changed is taken over once it has stayed the same for this time.
const SETTLED: Duration = Duration::from_millis(100);
/// The same for an empty file, since a writer may have only just truncated it.
const EMPTY_SETTLED: Duration = Duration::from_secs(1);

/// A look at a file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Look {
    pub(super) path: Arc<Path>,
    /// What is known of it. A file with the same stamp is not read again.
    pub(super) known: Option<Known>,
    /// Reads the file even if its stamp is the same.
    pub(super) compare: bool,
    /// The file has settled if it still has this stamp.
    pub(super) waited_for: Option<Stamp>,
}

/// What is known of a file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    /// A hash of its bytes.
    pub(super) content: u64,
}

/// The metadata that changes when a file changes: that of the path itself, which may be a symbolic link, and that of
/// the file to which the path leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Stamp {
    link: Stat,
    target: Stat,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Stat {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change of the inode, in seconds and nanoseconds.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

/// What a look has found.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// The file has not changed.
    Same,
    /// The file has settled. There is an update if its content is not the known one.
    Settled {
        known: Known,
        update: Option<Arc<Update>>,
    },
    /// The file may still be changing. It has settled if it stays the same for some time.
    Unsettled {
        stamp: Stamp,
        still: bool,
        wait: Duration,
    },
    Failed(Fault),
}

/// Why a file cannot be used.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    NoFile { is_directory: bool },
    TooLarge,
    Io { kind: io::ErrorKind, text: Arc<str> },
}

impl Look {
    /// Looks at the file, and reads it if need be. This blocks.
    pub(super) fn look(&self) -> io::Result<Seen> {
        Ok(self
            .seen()
            .unwrap_or_else(|error| Seen::Failed(Fault::Io { kind: error.kind(), text: error.to_string().into() })))
    }

    fn seen(&self) -> io::Result<Seen> {
        let target = fs::metadata(&self.path)?;
        // Opening a pipe would block, and so it is not even tried.
        if !target.is_file() {
            return Ok(Seen::Failed(Fault::NoFile { is_directory: target.is_dir() }));
        }
        let stamp = Stamp { link: Stat::of(&fs::symlink_metadata(&self.path)?), target: Stat::of(&target) };
        if let Some(known) = &self.known
            && known.stamp == stamp
            && !self.compare
        {
            return Ok(Seen::Same);
        }
        let file = File::open(&self.path)?;
        let mut bytes = Vec::new();
        (&file).take(LIMIT + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|size| size > LIMIT) {
            return Ok(Seen::Failed(Fault::TooLarge));
        }
        let target = file.metadata()?;
        let after = Stamp { link: Stat::of(&fs::symlink_metadata(&self.path)?), target: Stat::of(&target) };
        let content = hash(&bytes);
        let is_known = self.known.as_ref().is_some_and(|known| known.content == content);
        if is_known && self.known.as_ref().is_some_and(|known| known.stamp == after) {
            return Ok(Seen::Same);
        }
        let wait = if bytes.is_empty() { EMPTY_SETTLED } else { SETTLED };
        let (still, waited) = (stamp == after, self.waited_for.as_ref() == Some(&after));
        if !still || !(waited || after.age().is_some_and(|age| age >= wait)) {
            return Ok(Seen::Unsettled { stamp: after, still, wait });
        }
        let update = (!is_known).then(|| Arc::new(Update::from_bytes(&bytes)));
        Ok(Seen::Settled { known: Known { stamp: after, content }, update })
    }
}

impl Stamp {
    /// How long ago the file has changed. `None` if the time of the change is unknown, or is in the future by this
    /// machine's clock.
    fn age(&self) -> Option<Duration> {
        let changed = [&self.link, &self.target].into_iter().filter_map(Stat::changed).max()?;
        SystemTime::now().duration_since(changed).ok()
    }
}

impl Stat {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The last change of the content, of the name or of the rights.
    #[cfg(unix)]
    fn changed(&self) -> Option<SystemTime> {
        let (_, _, seconds, nanoseconds) = self.inode;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        self.modified.max(SystemTime::UNIX_EPOCH.checked_add(since))
    }

    #[cfg(not(unix))]
    fn changed(&self) -> Option<SystemTime> {
        self.modified
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a test, which is removed at the end.
    struct TestFile(Arc<Path>);

    impl TestFile {
        fn new(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hedge-look-{}-{name}", std::process::id()));
            fs::write(&path, content).unwrap();
            Self(path.into())
        }

        /// Writes the file, and sets its time of change to the future, so that its age is not known.
        fn write(&self, content: &str) {
            fs::write(&self.0, content).unwrap();
            let later = SystemTime::now() + Duration::from_secs(1_000);
            File::options().write(true).open(&self.0).unwrap().set_modified(later).unwrap();
        }

        fn look(&self, known: Option<&Known>, waited_for: Option<&Stamp>) -> Seen {
            let (known, waited_for) = (known.cloned(), waited_for.cloned());
            Look { path: Arc::clone(&self.0), known, compare: false, waited_for }.look().unwrap()
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn n2_a_file_is_taken_over_once_it_was_waited_for() {
        let file = TestFile::new("settles", "10.0.0.1:1\n");
        file.write("10.0.0.1:1\n10.0.");
        let Seen::Unsettled { stamp: half, still: true, wait } = file.look(None, None) else { panic!("half a file") };
        assert_eq!(wait, SETTLED);
        file.write("");
        let Seen::Unsettled { wait, .. } = file.look(None, Some(&half)) else { panic!("it was truncated") };
        assert_eq!(wait, EMPTY_SETTLED, "a writer may have only just begun");
        file.write("10.0.0.1:1\n10.0.0.2:1\n");
        let Seen::Unsettled { stamp, .. } = file.look(None, Some(&half)) else { panic!("it has changed") };
        let Seen::Settled { known, update: Some(update) } = file.look(None, Some(&stamp)) else { panic!("settled") };
        assert_eq!(*update, Update::from_lines("10.0.0.1:1\n10.0.0.2:1"));
        assert!(matches!(file.look(Some(&known), None), Seen::Same));
        file.write("10.0.0.1:1\n10.0.0.2:1\n");
        let Seen::Unsettled { stamp, .. } = file.look(Some(&known), None) else { panic!("it was written again") };
        let Seen::Settled { update: None, .. } = file.look(Some(&known), Some(&stamp)) else {
            panic!("the same content")
        };
    }

    #[test]
    fn n2_a_file_may_have_a_million_lines() {
        let lines = (0..1_000_000_u32).map(|number| format!("{}:1\n", std::net::Ipv4Addr::from(number)));
        let (lines, file) = (lines.collect::<String>(), TestFile::new("million", ""));
        file.write(&lines);
        let Seen::Unsettled { stamp, .. } = file.look(None, None) else { panic!("only just written") };
        let Seen::Settled { update: Some(update), .. } = file.look(None, Some(&stamp)) else { panic!("settled") };
        let Update::Reset { servers, rejected } = &*update else { panic!("no list") };
        assert_eq!((servers.len(), rejected.len()), (1_000_000, 0));
    }
}

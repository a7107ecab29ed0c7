//! Servers from a file that is edited while calls run: a rolling restart, as a deployment does it.
//! Run it: cargo run --release --example naming

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hedge_examples::replicas::{Answer, Replica};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let start = || Replica::start(|| Answer::ok(Duration::from_millis(1)));
    let (one, two, three) = (start()?, start()?, start()?);
    let file = ServerFile::new();
    file.write(&[&one, &two])?;

    // The first call reads the file. Its changes are followed from then on, and no call waits for that.
    let channel = hedge_tokio::builder(format!("file://{}", file.0.display())).load_balancer("rr").build()?;
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    for (step, servers) in [("one, two", [&one, &two]), ("two, three", [&two, &three]), ("three, one", [&three, &one])]
    {
        file.write(&servers)?;
        let mut wanted = servers.map(|replica| replica.address().to_string());
        wanted.sort();
        let begin = Instant::now();
        // Calls go on while the file changes. None of them fails.
        while begin.elapsed() < Duration::from_secs(10) {
            let reply = channel.get("/").await?;
            *calls.entry(reply.answered_by().to_string()).or_default() += 1;
            let mut listed: Vec<_> = channel.servers().iter().map(ToString::to_string).collect();
            listed.sort();
            if listed == wanted {
                println!("{step}: taken over after {:.1} s", begin.elapsed().as_secs_f64());
                break;
            }
        }
    }

    // A line that is no server is left out, and the channel says why. If all lines are bad, the last list stays.
    fs::write(&file.0, format!("{}\nnonsense\n", two.address()))?;
    while channel.naming().is_some_and(|naming| naming.rejected.is_empty()) {
        channel.get("/").await?;
    }
    for (line, error) in channel.naming().into_iter().flat_map(|naming| naming.rejected) {
        println!("line {line}: {error}");
    }
    println!("{} calls at {} servers, none failed", calls.values().sum::<u32>(), calls.len());
    Ok(())
}

/// A file of servers, one a line. It is removed at the end.
struct ServerFile(PathBuf);

impl ServerFile {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("hedge-example-servers-{}", std::process::id())))
    }

    /// Replaces the file in one step: who reads it sees the old list or the new one.
    fn write(&self, servers: &[&Replica]) -> std::io::Result<()> {
        let new: &Path = &self.0.with_extension("new");
        fs::write(new, servers.iter().map(|server| format!("{}\n", server.address())).collect::<String>())?;
        fs::rename(new, &self.0)
    }
}

impl Drop for ServerFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

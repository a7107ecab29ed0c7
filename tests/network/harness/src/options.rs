//! The command line.

use std::path::PathBuf;
use std::time::Duration;

/// What to run, and with which servers.
#[derive(Debug)]
pub(crate) struct Options {
    /// The program QEMU.
    pub(crate) qemu: PathBuf,
    /// The directory of QEMU's files, if QEMU does not find them by itself.
    pub(crate) data: Option<PathBuf>,
    /// The firmware: an ELF file with symbols.
    pub(crate) firmware: PathBuf,
    /// How many servers that answer.
    pub(crate) servers: usize,
    /// The seed of all random choices.
    pub(crate) seed: u64,
    /// How long the firmware may take.
    pub(crate) limit: Duration,
    /// Whether the firmware's time is a count of its instructions.
    pub(crate) instructions: bool,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut qemu, mut data, mut firmware) = (None, None, None);
        let (mut servers, mut seed, mut seconds, mut instructions) = (3, 1, 60, false);
        while let Some(name) = arguments.next() {
            if name == "--instructions" {
                instructions = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--qemu" => qemu = Some(PathBuf::from(value)),
                "--data" => data = Some(PathBuf::from(value)),
                "--firmware" => firmware = Some(PathBuf::from(value)),
                "--servers" => servers = number(&name, &value)?,
                "--seed" => seed = number(&name, &value)?,
                "--seconds" => seconds = number(&name, &value)?,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(Self {
            qemu: qemu.ok_or("--qemu is missing")?,
            data,
            firmware: firmware.ok_or("--firmware is missing")?,
            servers,
            seed,
            limit: Duration::from_secs(seconds),
            instructions,
        })
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value}"))
}

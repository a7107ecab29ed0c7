//! Runs a firmware in QEMU: its arguments, its log and its end.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use defmt_decoder::{DecodeError, Table};

use crate::options::Options;

/// Runs the firmware until it ends or its time is up.
pub(crate) fn run(options: &Options, arguments: &[String]) -> Result<(), String> {
    let firmware = options.firmware.display();
    let elf = std::fs::read(&options.firmware).map_err(|error| format!("{firmware}: {error}"))?;
    let table = Table::parse(&elf).map_err(|error| format!("{firmware}: {error}"))?;
    let table = table.ok_or_else(|| format!("{firmware} has no defmt messages"))?;
    let mut child = command(options, arguments).spawn().map_err(|error| format!("cannot start QEMU: {error}"))?;
    let log = child.stdout.take().map(chunks).ok_or("QEMU has no standard output")?;
    let result = follow(&log, &table, options).and_then(|()| end(&mut child));
    // QEMU is ended in any case. If it has already ended, this does nothing.
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    result
}

fn command(options: &Options, arguments: &[String]) -> Command {
    let mut command = Command::new(&options.qemu);
    if let Some(data) = &options.data {
        command.arg("-L").arg(data);
    }
    let mut semihosting = String::from("enable=on,target=native");
    for argument in arguments {
        semihosting.push_str(",arg=");
        semihosting.push_str(argument);
    }
    command.args(["-machine", "mps2-an385", "-display", "none", "-monitor", "none", "-serial", "null", "-nic", "user"]);
    command.args(["-semihosting-config", &semihosting]);
    if options.instructions {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    command.arg("-kernel").arg(&options.firmware).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The output of the child, in pieces. A thread reads it until the child ends.
fn chunks(mut output: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer.get(..length).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Prints the log until the firmware closes it.
fn follow(log: &Receiver<Vec<u8>>, table: &Table, options: &Options) -> Result<(), String> {
    let deadline = Instant::now() + options.limit;
    let mut decoder = table.new_stream_decoder();
    loop {
        match log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => decoder.received(&chunk),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the firmware has not ended after {:?}", options.limit));
            }
        }
        loop {
            match decoder.decode() {
                Ok(frame) => match frame.level() {
                    Some(level) if level.as_str() != "info" => {
                        println!("{}: {}", level.as_str(), frame.display_message());
                    }
                    _ => println!("{}", frame.display_message()),
                },
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => return Err("the log cannot be decoded".to_owned()),
            }
        }
    }
}

fn end(child: &mut Child) -> Result<(), String> {
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("the firmware failed: {status}")) }
}

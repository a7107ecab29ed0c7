//! haproxy, which answers by itself and needs no server behind it.

use std::fs;
use std::io;
use std::process::Command;

use super::{PAGE, PATH, Place};

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let Place { home, port, protocol, certificate } = place;
    let bind = match (protocol.is_tls(), protocol.is_http2()) {
        (true, is_http2) => {
            let versions = if is_http2 { "h2,http/1.1" } else { "http/1.1" };
            format!("ssl crt {} alpn {versions}", certificate.both().display())
        }
        (false, true) => "proto h2".to_owned(),
        (false, false) => String::new(),
    };
    let page = PAGE.trim_end();
    let config = format!(
        "global
    maxconn 1000
    nbthread 1
defaults
    mode http
    timeout client 30s
    timeout http-keep-alive 2s
    timeout connect 1s
    timeout server 1s
frontend web
    bind 127.0.0.1:{port} {bind}
    http-request return status 200 content-type text/plain string \"{page}\\n\" if {{ path {PATH} }}
    http-request return status 404
"
    );
    let file = home.join("haproxy.cfg");
    fs::write(&file, config)?;
    let mut command = Command::new("haproxy");
    // In the foreground, as one process.
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

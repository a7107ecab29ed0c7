//! nghttpd, which speaks HTTP/2 alone.

use std::process::Command;

use super::{PAGES, Place};

pub(super) fn command(place: &Place<'_>) -> Command {
    let Place { home, port, protocol, certificate } = place;
    let mut command = Command::new("nghttpd");
    command.args(["--address", "127.0.0.1", "--htdocs"]).arg(home.join(PAGES));
    if protocol.is_tls() {
        command.arg(port.to_string()).arg(certificate.key()).arg(certificate.chain());
    } else {
        command.arg("--no-tls").arg(port.to_string());
    }
    command
}

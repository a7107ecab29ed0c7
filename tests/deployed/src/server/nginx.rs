//! nginx with one process, which ends with all its connections when it is killed.

use std::fs;
use std::io;
use std::process::Command;

use super::{PAGES, Place};

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let Place { home, port, protocol, certificate } = place;
    let ssl = if protocol.is_tls() { " ssl" } else { "" };
    let http2 = if protocol.is_http2() { " http2" } else { "" };
    let tls = if protocol.is_tls() {
        let (chain, key) = (certificate.chain(), certificate.key());
        format!("ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display())
    } else {
        String::new()
    };
    let home = home.display();
    let config = format!(
        "worker_processes 1;
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 500;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {tls}
    server {{ listen 127.0.0.1:{port}{ssl}{http2}; root {home}/{PAGES}; }}
}}
"
    );
    let file = place.home.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.args(["-p", &home.to_string(), "-e", &format!("{home}/error.log"), "-c"]).arg(file);
    Ok(command)
}

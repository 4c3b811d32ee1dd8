//! A server under test: how it is called, and what it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::case::{Case, Version};
use super::server::{Server, Sign, free_port};

/// A program that serves the site.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) facts: Facts,
    /// By what its work is divided: who costs ten times as much would take ten times as long.
    pub(crate) divisor: u32,
}

/// What to know about a contender when its figures are read.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) version: String,
    /// The library of its cryptography.
    pub(crate) cryptography: &'static str,
    /// Of its QUIC; that of TCP is the kernel's, the same for all.
    pub(crate) congestion: &'static str,
}

/// How it is told what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sterna,
    /// One of ours around a library: by arguments.
    Library,
    /// Serves idle connections alone, since only its memory differs from the same with another allocator.
    LibraryIdle,
    Nginx,
    Caddy,
    H2o,
    Haproxy,
}

/// What differs from case to case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: u32,
    /// Requests at once that a connection may have.
    pub(crate) streams: u32,
    /// For `taskset`.
    pub(crate) cores: &'static str,
    /// The port of the backend that all is passed on to, on loopback; without it, the site is served.
    pub(crate) origin: Option<u16>,
}

impl Contender {
    /// Whether it can do this work at all.
    pub(crate) fn can(&self, case: Case) -> bool {
        match self.kind {
            Kind::Sterna | Kind::Nginx => true,
            Kind::Library | Kind::H2o if matches!(case, Case::Proxy { .. }) => false,
            Kind::Library => case.version() == Version::Http3 && !matches!(case, Case::Workers),
            Kind::LibraryIdle => matches!(case, Case::Idle { .. }),
            // It has no setting for streams, and its two workers would be threads of one runtime.
            Kind::Caddy => case.setting().streams <= 128 && !matches!(case, Case::Workers),
            Kind::H2o | Kind::Haproxy => case.version() != Version::Http3,
        }
    }

    /// Starts the server in `directory`, pinned, and waits until it takes connections.
    pub(crate) fn start(&self, directory: &Path, setting: Setting) -> Result<Server, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", setting.cores]).arg(&self.program).current_dir(directory);
        let sign = self.configure(&mut command, directory, setting);
        let sign = sign.map_err(|error| format!("{}: {error}", self.name))?;
        Server::start(&mut command, sign)
            .map_err(|said| format!("{} did not become ready; it said: {said}", self.name))
    }

    fn configure(
        &self,
        command: &mut Command,
        directory: &Path,
        setting: Setting,
    ) -> std::io::Result<Sign> {
        let (site, proxy, file) = match self.kind {
            Kind::Library | Kind::LibraryIdle => {
                command.args(["--listen", "127.0.0.1:0", "--cert", "cert.pem"]);
                command.args(["--key", "key.pem", "--streams", &setting.streams.to_string()]);
                return Ok(Sign::Word);
            }
            Kind::Sterna => (SITE.sterna, PROXY.sterna, "sterna.toml"),
            Kind::Nginx => (SITE.nginx, PROXY.nginx, "nginx.conf"),
            Kind::Caddy => (SITE.caddy, PROXY.caddy, "Caddyfile"),
            Kind::H2o => (SITE.h2o, PROXY.h2o, "h2o.yaml"),
            Kind::Haproxy => (SITE.haproxy, PROXY.haproxy, "haproxy.cfg"),
        };
        let template = if setting.origin.is_some() { proxy } else { site };
        let port = free_port()?;
        fs::write(directory.join(file), filled(template, port, setting))?;
        match self.kind {
            Kind::Sterna => command.args(["run", "-c", file]),
            Kind::Nginx => command.arg("-p").arg(directory).arg("-c").arg(directory.join(file)),
            Kind::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config", file])
                .env("XDG_DATA_HOME", directory)
                .env("XDG_CONFIG_HOME", directory),
            Kind::H2o => command.args(["-c", file]),
            Kind::Haproxy => command.args(["-db", "-f", file]),
            Kind::Library | Kind::LibraryIdle => command,
        };
        Ok(match self.kind {
            Kind::Sterna | Kind::Library | Kind::LibraryIdle => Sign::Word,
            Kind::Nginx => Sign::Port { port, processes: 1 + setting.workers as usize },
            Kind::Caddy | Kind::H2o | Kind::Haproxy => Sign::Port { port, processes: 1 },
        })
    }
}

/// The configurations of all, for one kind of work.
struct Templates {
    sterna: &'static str,
    nginx: &'static str,
    caddy: &'static str,
    h2o: &'static str,
    haproxy: &'static str,
}

const SITE: Templates = Templates {
    sterna: include_str!("../../../bench/peers/sterna.toml"),
    nginx: include_str!("../../../bench/peers/nginx.conf"),
    caddy: include_str!("../../../bench/peers/Caddyfile"),
    h2o: include_str!("../../../bench/peers/h2o.yaml"),
    haproxy: include_str!("../../../bench/peers/haproxy.cfg"),
};

const PROXY: Templates = Templates {
    sterna: include_str!("../../../bench/peers/proxy/sterna.toml"),
    nginx: include_str!("../../../bench/peers/proxy/nginx.conf"),
    caddy: include_str!("../../../bench/peers/proxy/Caddyfile"),
    // It takes no part.
    h2o: "",
    haproxy: include_str!("../../../bench/peers/proxy/haproxy.cfg"),
};

/// A configuration with its places filled in.
fn filled(template: &str, port: u16, setting: Setting) -> String {
    // Without it h2o, started as root, becomes `nobody`, who may not read the site.
    let user = if is_root() { "user: root" } else { "" };
    template
        .replace("@PORT@", &port.to_string())
        .replace("@WORKERS@", &setting.workers.to_string())
        .replace("@STREAMS@", &setting.streams.to_string())
        .replace("@ORIGIN@", &setting.origin.unwrap_or_default().to_string())
        .replace("@USER@", user)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_configuration_is_filled() {
        let setting = Setting { workers: 2, streams: 10_000, cores: "0", origin: Some(8081) };
        for Templates { sterna, nginx, caddy, h2o, haproxy } in [SITE, PROXY] {
            let served = [sterna, nginx, caddy, h2o, haproxy].into_iter();
            for template in served.filter(|template| !template.is_empty()) {
                let text = filled(template, 4433, setting);
                assert!(text.contains("4433") && !text.contains('@'), "{text}");
            }
        }
        assert!(filled(PROXY.nginx, 4433, setting).contains("server 127.0.0.1:8081;"));
    }
}

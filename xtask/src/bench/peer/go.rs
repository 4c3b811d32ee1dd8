//! The peers written in Go: quic-go by a program of ours, Caddy as it is released.

use std::path::Path;
use std::process::Command;

use super::super::contender::{Contender, Facts, Kind};
use super::{first_line, step};

/// Files from memory over quic-go's HTTP/3.
pub(super) fn quic_go(folder: &Path, build: bool) -> Result<Contender, String> {
    let program = folder.join("quic-go");
    if !program.exists() {
        let source = crate::workspace_root().join("bench/peers/quic-go");
        let mut go = Command::new("go");
        go.current_dir(source).args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
        make(build, folder, &mut go)?;
    }
    Ok(contender("quic-go", Kind::Library, &program, "quic-go 0.63.0".to_owned()))
}

/// Caddy from the module proxy, or that of the distribution where it cannot be built. A build takes some minutes.
pub(super) fn caddy(folder: &Path, build: bool) -> Result<Contender, String> {
    let program = folder.join("caddy");
    if !program.exists() {
        let mut go = Command::new("go");
        // Outside of any module, so that the flags of one do not matter.
        go.current_dir(folder)
            .args(["install", &format!("{MODULE}@{CADDY}")])
            .env("GOBIN", folder)
            .env("GOFLAGS", "");
        if let Err(reason) = make(build, folder, &mut go) {
            let version = first_line(Command::new("caddy").arg("version")).ok_or(reason)?;
            return Ok(contender("caddy", Kind::Caddy, Path::new("caddy"), version));
        }
    }
    Ok(contender("caddy", Kind::Caddy, &program, format!("Caddy {CADDY}")))
}

fn make(build: bool, folder: &Path, go: &mut Command) -> Result<(), String> {
    if !build {
        return Err("not built".to_owned());
    }
    if first_line(Command::new("go").arg("version")).is_none() {
        return Err("there is no Go toolchain; install one of 1.26 or later".to_owned());
    }
    eprintln!("building {go:?}");
    step(&folder.join("go.log"), go)
}

fn contender(name: &'static str, kind: Kind, program: &Path, version: String) -> Contender {
    Contender {
        name,
        program: program.to_owned(),
        kind,
        facts: Facts { version, cryptography: "Go", congestion: "reno" },
        divisor: 10,
    }
}

const MODULE: &str = "github.com/caddyserver/caddy/v2/cmd/caddy";
const CADDY: &str = "v2.11.9";

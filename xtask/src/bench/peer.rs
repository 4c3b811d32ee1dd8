//! The peers: built once from the package registries, or found on the machine.
//!
//! What is built stays in a folder of the target folder, or in the one that `STERNA_BENCH_PEERS` names, and may be moved:
//! nothing in it knows its place. A peer that cannot be had is not a failure; its reason is printed instead of its figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::contender::{Contender, Facts, Kind};

mod go;
mod nginx;

/// The names that `--peer` takes.
pub(crate) const NAMES: [&str; 6] = ["nginx", "h3+quinn", "quic-go", "caddy", "h2o", "haproxy"];

/// Where what is built is kept.
pub(crate) fn folder(target: &Path) -> PathBuf {
    std::env::var_os("STERNA_BENCH_PEERS").map_or(target.join("bench-peers"), PathBuf::from)
}

/// The peer of this name, built if it must be and may be; or why it cannot be had.
pub(crate) fn find(
    name: &str,
    folder: &Path,
    programs: &Path,
    build: bool,
) -> Result<Vec<Contender>, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    match name {
        "nginx" => nginx::find(folder, build).map(|nginx| vec![nginx]),
        "h3+quinn" => Ok(h3_quinn(programs)),
        "quic-go" => go::quic_go(folder, build).map(|peer| vec![peer]),
        "caddy" => go::caddy(folder, build).map(|peer| vec![peer]),
        "h2o" => installed("h2o", Kind::H2o, &["--version"]).map(|peer| vec![peer]),
        "haproxy" => installed("haproxy", Kind::Haproxy, &["-v"]).map(|peer| vec![peer]),
        _ => Err(format!("there is no such peer; there are {}", NAMES.join(", "))),
    }
    .map_err(|reason| format!("{name}: {reason}"))
}

/// Built by cargo with the load. Idle, it is also shown with the allocator that is better for that.
fn h3_quinn(programs: &Path) -> Vec<Contender> {
    let contender = |name, program: &str, kind| Contender {
        name,
        program: programs.join(program),
        kind,
        facts: Facts {
            version: "h3 0.0.8, quinn 0.11.12".to_owned(),
            cryptography: "AWS-LC",
            congestion: "cubic",
        },
        divisor: 1,
    };
    vec![
        contender("h3+quinn", "peer-h3-quinn", Kind::Library),
        contender("h3+quinn, system malloc", "peer-h3-quinn-system", Kind::LibraryIdle),
    ]
}

/// A program of the distribution.
fn installed(name: &'static str, kind: Kind, version: &[&str]) -> Result<Contender, String> {
    let first_line = first_line(Command::new(name).args(version))
        .ok_or_else(|| format!("not installed; `apt-get install {name}` has it"))?;
    Ok(Contender {
        name,
        program: name.into(),
        kind,
        facts: Facts { version: first_line, cryptography: "OpenSSL", congestion: "–" },
        divisor: 1,
    })
}

/// What a program says of its version.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&said).lines().next()?.trim().to_owned())
}

/// Runs one step of a build; what it says goes to `log`, whose end becomes the error.
fn step(log: &Path, command: &mut Command) -> Result<(), String> {
    let open = || fs::File::options().create(true).append(true).open(log);
    let output = open().and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = output.map_err(|error| format!("{}: {error}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program}` failed ({status}), see {}", log.display())),
        Err(error) => Err(format!("`{program}` does not run: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_a_reason_and_no_failure() {
        let reason = installed("no-such-server", Kind::H2o, &["-v"]).unwrap_err();
        assert!(reason.contains("apt-get install no-such-server"));
    }

    #[test]
    fn a_step_that_fails_names_its_log() {
        let log = std::env::temp_dir().join(format!("step-{}.log", std::process::id()));
        let reason = step(&log, Command::new("sh").args(["-c", "echo why; false"])).unwrap_err();
        assert!(reason.contains(&log.display().to_string()));
        assert_eq!(fs::read_to_string(&log).unwrap(), "why\n");
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn an_unknown_peer_is_told_which_there_are() {
        let folder = std::env::temp_dir();
        let reason = find("apache", &folder, &folder, false).unwrap_err();
        assert!(reason.contains("nginx, h3+quinn"));
    }
}

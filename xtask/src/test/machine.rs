//! Makes a bare machine ready: the programs that the end-to-end battery calls, and a Python environment.
//!
//! Nothing is asked for when everything is there, so a second run costs no time and needs no network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("missing: {missing}; install {packages} (there is no apt-get to do it here)")]
    NoPackageManager { missing: String, packages: String },
    #[error("missing: {missing}; run as root, or install sudo, or install {packages}")]
    NotRoot { missing: String, packages: String },
    #[error("`{0}` failed, see above")]
    Command(String),
    #[error(
        "no Python of at least 3.10 with the modules venv and ensurepip, even after installing"
    )]
    NoPython,
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A program that is called, under any of its names, and the Debian package which has it.
struct Need {
    names: &'static [&'static str],
    package: &'static str,
}

const NEEDS: [Need; 7] = [
    Need { names: &["curl"], package: "curl" },
    Need { names: &["nginx"], package: "nginx" },
    Need { names: &["certutil"], package: "libnss3-tools" },
    Need { names: &["ip"], package: "iproute2" },
    Need { names: &["nghttp"], package: "nghttp2-client" },
    Need { names: &["setpriv"], package: "util-linux" },
    Need {
        names: &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
        // Without a font a page has no text, and its picture says less.
        package: "chromium fonts-dejavu-core",
    },
];

/// Apart from the others, since a Python may be there which cannot make environments.
const PYTHON: Need = Need { names: &["python3"], package: "python3 python3-venv" };

/// Installs what is missing; the interpreter of the Python environment.
pub(super) fn prepare(root: &Path) -> Result<PathBuf, Error> {
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|need| !need.is_there()).collect();
    let python = python();
    if python.is_none() {
        missing.push(&PYTHON);
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    let python = python.or_else(self::python).ok_or(Error::NoPython)?;
    environment(&python, &root.join("tests/e2e/requirements.txt"))
}

/// The same interpreter for who needs nothing else; it installs no programs.
pub(crate) fn foreign_clients(root: &Path) -> Result<PathBuf, Error> {
    let python = python().ok_or(Error::NoPython)?;
    environment(&python, &root.join("tests/e2e/requirements.txt"))
}

impl Need {
    fn is_there(&self) -> bool {
        self.names.iter().any(|name| has_program(name))
    }
}

/// Whether a program of this name is on the path, or where servers are, which is not on the path of everyone.
pub(super) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.any(|folder| folder.join(name).is_file())
}

fn install(missing: &[&Need]) -> Result<(), Error> {
    let names: Vec<_> = missing.iter().map(|need| need.names[0]).collect();
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    let (names, packages) = (names.join(", "), packages.join(" "));
    if !has_program("apt-get") {
        return Err(Error::NoPackageManager { missing: names, packages });
    }
    let sudo: &[&str] = match (is_root(), has_program("sudo")) {
        (true, _) => &[],
        (false, true) => &["sudo", "--preserve-env=DEBIAN_FRONTEND"],
        (false, false) => return Err(Error::NotRoot { missing: names, packages }),
    };
    println!("installing: {packages}");
    let apt = |arguments: &str| {
        let words = sudo.iter().copied().chain(["apt-get"]).chain(arguments.split(' '));
        run(words.collect::<Vec<_>>().as_slice())
    };
    apt("update -qq")?;
    apt(&format!("install -qq --yes --no-install-recommends {packages}"))
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The first interpreter that is new enough and can make environments.
///
/// A version manager may put names on the path which then refuse to run, so each is tried.
fn python() -> Option<PathBuf> {
    let names =
        ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "/usr/bin/python3"];
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    let works = |name: &&str| {
        let mut command = Command::new(name);
        command.args(["-c", check]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    names.iter().find(|name| works(name)).map(PathBuf::from)
}

/// The environment in the target folder, made anew only when its requirements have changed.
fn environment(python: &Path, requirements: &Path) -> Result<PathBuf, Error> {
    let folder = crate::target_directory().join("xtask/venv");
    let interpreter = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    };
    let wanted = fs::read_to_string(requirements).map_err(io(requirements))?;
    if interpreter.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(interpreter);
    }
    let words = |path: &Path| path.display().to_string();
    run(&[&words(python), "-m", "venv", "--clear", &words(&folder)])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let interpreter_words = words(&interpreter);
    let requirements_words = words(requirements);
    let mut command = vec![interpreter_words.as_str()];
    command.extend(pip);
    command.push(&requirements_words);
    run(&command)?;
    fs::write(&stamp, wanted).map_err(io(&stamp))?;
    Ok(interpreter)
}

pub(super) fn run(words: &[&str]) -> Result<(), Error> {
    run_command(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
}

pub(super) fn run_command(command: &mut Command) -> Result<(), Error> {
    let status = command.status();
    if status.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(Error::Command(super::output::line(command)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name_alone() {
        assert!(has_program("cargo"));
        assert!(!has_program("no-program-of-this-name"));
    }

    #[test]
    fn a_need_is_met_by_any_of_its_names() {
        assert!(Need { names: &["no-such-program", "cargo"], package: "" }.is_there());
        assert!(!Need { names: &["no-such-program"], package: "" }.is_there());
    }

    #[test]
    fn a_command_that_fails_is_named_whole() {
        assert_eq!(run(&["false", "x"]).unwrap_err().to_string(), "`false x` failed, see above");
    }
}

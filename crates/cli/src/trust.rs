//! The stores that programs on this machine take their authorities from.
//!
//! The system's, as Debian keeps it (`update-ca-certificates`), is that of curl, wget and most programs; the
//! NSS database of a user is that of Chrome and Chromium (`certutil`).

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::quoted;

/// Where authorities are kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A directory whose certificates a program gathers.
    System { directory: PathBuf },
    /// A database of a user.
    Nss { directory: PathBuf },
}

/// What came of a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made.
    Done(String),
    /// There is nothing to change.
    Nothing(String),
    /// It must be made by hand.
    ByHand { why: String, command: String },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(what) => write!(f, "done: {what}"),
            Self::Nothing(why) => write!(f, "nothing to do: {why}"),
            Self::ByHand { why, command } => write!(f, "NOT done: {why}; run: {command}"),
        }
    }
}

impl Store {
    /// Those of this machine and user.
    pub(crate) fn all() -> Vec<Self> {
        let directory = PathBuf::from(SYSTEM);
        let nss = env::var_os("HOME").map(|home| PathBuf::from(home).join(".pki/nssdb"));
        let nss = nss.map(|directory| Self::Nss { directory });
        [Self::System { directory }].into_iter().chain(nss).collect()
    }

    /// Adds the certificate in `root`.
    pub(crate) fn add(&self, root: &Path) -> Outcome {
        match self {
            Self::System { directory } => add_to_system(directory, root),
            Self::Nss { directory } => add_to_nss(directory, root),
        }
    }

    /// Takes our certificate out.
    pub(crate) fn remove(&self) -> Outcome {
        match self {
            Self::System { directory } => remove_from_system(directory),
            Self::Nss { directory } => remove_from_nss(directory),
        }
    }
}

/// Whether the store of the system has the certificate in `root`.
pub(crate) fn is_trusted_by_system(root: &Path) -> bool {
    is_in(Path::new(SYSTEM), root)
}

fn is_in(directory: &Path, root: &Path) -> bool {
    let there = fs::read(directory.join(FILE));
    there.is_ok_and(|there| fs::read(root).is_ok_and(|root| there == root))
}

fn add_to_system(directory: &Path, root: &Path) -> Outcome {
    let file = directory.join(FILE);
    let command = format!("sudo cp {} {} && sudo {UPDATE}", root.display(), file.display());
    if !directory.is_dir() {
        let why = format!("this system has no {}", directory.display());
        return Outcome::ByHand {
            why,
            command: "add the file above to the store of this system".into(),
        };
    }
    let is_there =
        fs::read(&file).is_ok_and(|there| fs::read(root).is_ok_and(|root| there == root));
    if is_there {
        return Outcome::Nothing(format!("{} has it already", file.display()));
    }
    if let Err(error) = fs::copy(root, &file) {
        return Outcome::ByHand { why: error.to_string(), command };
    }
    match run(&mut Command::new(UPDATE)) {
        Ok(()) => Outcome::Done(format!("copied to {}, and ran {UPDATE}", file.display())),
        Err(error) => {
            // Or the next attempt would find it, and nothing to do.
            let _ = fs::remove_file(&file);
            Outcome::ByHand { why: error.to_string(), command }
        }
    }
}

fn remove_from_system(directory: &Path) -> Outcome {
    let file = directory.join(FILE);
    let command = format!("sudo rm {} && sudo {UPDATE} --fresh", file.display());
    match fs::remove_file(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Outcome::Nothing(format!("{} is not there", file.display()));
        }
        Err(error) => return Outcome::ByHand { why: error.to_string(), command },
        Ok(()) => {}
    }
    match run(Command::new(UPDATE).arg("--fresh")) {
        Ok(()) => Outcome::Done(format!("removed {}, and ran {UPDATE}", file.display())),
        Err(error) => Outcome::ByHand { why: error.to_string(), command },
    }
}

/// Adds the certificate in `root` to a database, in place of one of an earlier authority.
fn add_to_nss(directory: &Path, root: &Path) -> Outcome {
    if !has_database(directory) {
        let at = quoted(&directory.display().to_string());
        return Outcome::Nothing(format!(
            "there is no database of Chrome; `mkdir -p {at} && certutil -N --empty-password -d sql:{at}` makes one"
        ));
    }
    let mut add = certutil(directory, &["-A", "-n", NAME, "-t", "C,,", "-i"]);
    add.arg(root);
    match kept_in_nss(directory) {
        Ok(None) => {}
        Ok(Some(kept)) if fs::read_to_string(root).is_ok_and(|root| is_same(&root, &kept)) => {
            return Outcome::Nothing(format!("{} has it already", directory.display()));
        }
        Ok(Some(_)) => match remove_from_nss(directory) {
            Outcome::Done(_) => {}
            other => return other,
        },
        Err(error) => return by_hand(&error, &add),
    }
    done_or_by_hand(&mut add)
}

/// Takes our certificate out of a database.
fn remove_from_nss(directory: &Path) -> Outcome {
    if !has_database(directory) {
        return Outcome::Nothing(format!("there is no database in {}", directory.display()));
    }
    let mut remove = certutil(directory, &["-D", "-n", NAME]);
    match kept_in_nss(directory) {
        Ok(Some(_)) => done_or_by_hand(&mut remove),
        Ok(None) => Outcome::Nothing(format!("it is not in {}", directory.display())),
        Err(error) => by_hand(&error, &remove),
    }
}

fn has_database(directory: &Path) -> bool {
    directory.join("cert9.db").exists()
}

/// Our certificate in a database, as PEM; none if it has none.
fn kept_in_nss(directory: &Path) -> io::Result<Option<String>> {
    let output = certutil(directory, &["-L", "-n", NAME, "-a"]).output()?;
    let pem = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success().then_some(pem))
}

fn certutil(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("certutil");
    command.arg("-d").arg(format!("sql:{}", directory.display())).args(arguments);
    command
}

fn done_or_by_hand(command: &mut Command) -> Outcome {
    match run(command) {
        Ok(()) => Outcome::Done(format!("ran {}", words(command))),
        Err(error) => by_hand(&error, command),
    }
}

fn by_hand(error: &io::Error, command: &Command) -> Outcome {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "certutil is not installed (Debian: libnss3-tools)".to_owned(),
        _ => error.to_string(),
    };
    Outcome::ByHand { why, command: words(command) }
}

/// As a shell would be given it.
fn words(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// Whether two texts are the same PEM, however its lines end.
fn is_same(one: &str, other: &str) -> bool {
    let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    lines(one) == lines(other)
}

/// Runs it to its end; its last words are the error.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("no reason given");
    let program = command.get_program().to_string_lossy();
    Err(io::Error::other(format!("{program}: {last}")))
}

/// Where Debian and its descendants gather what this machine trusts beside its distribution.
const SYSTEM: &str = "/usr/local/share/ca-certificates";
/// Our certificate in the directory of the system; its programs take what ends in `.crt`.
const FILE: &str = "sterna-local-authority.crt";
const UPDATE: &str = "update-ca-certificates";
/// Our certificate in a database.
const NAME: &str = "Sterna local authority";

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("sterna-trust-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("created");
        dir
    }

    #[test]
    fn a_system_without_a_store_says_what_to_do() {
        let outcome = add_to_system(Path::new("/nonexistent"), Path::new("/root.crt"));
        assert!(matches!(&outcome, Outcome::ByHand { why, .. } if why.contains("/nonexistent")));
        assert!(outcome.to_string().starts_with("NOT done: "), "{outcome}");
    }

    #[test]
    fn what_is_there_is_not_added_and_what_is_not_there_not_removed() {
        let dir = empty("system");
        assert!(matches!(remove_from_system(&dir), Outcome::Nothing(_)));
        fs::write(dir.join("root.crt"), "a certificate").expect("written");
        fs::copy(dir.join("root.crt"), dir.join(FILE)).expect("copied");
        assert!(matches!(add_to_system(&dir, &dir.join("root.crt")), Outcome::Nothing(_)));
        fs::write(dir.join("root.crt"), "another certificate").expect("written");
        assert!(!is_in(&dir, &dir.join("root.crt")), "that of an earlier authority");
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_user_without_a_database_has_nothing_to_do() {
        let dir = empty("nss");
        let store = Store::Nss { directory: dir.clone() };
        assert!(matches!(store.add(Path::new("/root.crt")), Outcome::Nothing(_)));
        assert!(matches!(store.remove(), Outcome::Nothing(_)));
        fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "echo first; echo last >&2; exit 3"]));
        assert_eq!(error.expect_err("failed").to_string(), "sh: last");
    }
}

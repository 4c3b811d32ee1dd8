//! What `sterna` tells the person who started it: on stderr, for stdout is for data.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use sterna_gateway::config::Problems;

use crate::certificate::{Certificate, Origin};
use crate::error::Error;
use crate::listen::Listen;
use crate::trust::is_trusted_by_system;

/// Why it did not go well: one line with all causes, and one with what to do if the first does not say it.
pub(crate) fn failure(error: &Error) {
    if let Error::Config(problems) = error {
        return mistakes(problems);
    }
    let mut line = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    say(&line);
    if let Some(hint) = error.hint() {
        say(&format!("help: {hint}"));
    }
}

/// What is wrong in a configuration, each with its place.
fn mistakes(problems: &Problems) {
    say(&format!("{problems}\n{}", counted(problems.len(), "mistake")));
}

/// `1 mistake`, `2 mistakes`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Writes data to stdout, for a program or a file.
pub(crate) fn print(data: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{data}")
}

/// Writes a line to stderr, if anyone is there to read it: a server outlives the terminal that it was
/// started from, where `eprintln!` would panic.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Tells how a server has started. The last line tells scripts that connections are accepted.
pub(crate) fn ready(started: &str, begun: Instant) {
    say(started);
    say(&format!("ready in {} ms", begun.elapsed().as_millis()));
}

/// A server that has started.
pub(crate) struct Started<'a> {
    pub(crate) what: &'a str,
    /// A host that is served, where that of the place to listen is not.
    pub(crate) host: Option<&'a str>,
    pub(crate) listen: &'a [Listen],
    pub(crate) addresses: &'a [SocketAddr],
    /// Where plain HTTP is redirected.
    pub(crate) plain: &'a [SocketAddr],
    pub(crate) certificate: &'a Certificate,
    pub(crate) warnings: &'a [String],
    /// Why plain HTTP is not redirected, though nobody said so.
    pub(crate) note: Option<&'a str>,
}

impl Started<'_> {
    /// What to tell.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("sterna {} serves {}\n", env!("CARGO_PKG_VERSION"), self.what);
        let urls: Vec<String> = self.addresses.iter().map(|at| format!("https://{at}")).collect();
        let urls = urls.join("  ");
        let _ = writeln!(text, "  HTTP/1.1, HTTP/2  {urls}  (TCP)");
        let _ = writeln!(text, "  HTTP/3            {urls}  (UDP)");
        if !self.plain.is_empty() {
            let urls: Vec<String> = self.plain.iter().map(|at| format!("http://{at}")).collect();
            let _ = writeln!(text, "  to HTTPS from     {}  (TCP)", urls.join("  "));
        }
        let _ = writeln!(text, "certificate: {}", self.origin());
        if let Some(note) = self.note {
            let _ = writeln!(text, "note: plain HTTP is not redirected: {note}");
        }
        for warning in self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        if let Some(url) = self.url() {
            let _ = writeln!(text, "try:");
            for command in self.commands(&url) {
                let _ = writeln!(text, "  {command}");
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn origin(&self) -> String {
        match &self.certificate.origin {
            Origin::Files { certificates } => {
                let paths = certificates.iter().map(|path| path.display().to_string());
                paths.collect::<Vec<_>>().join(", ")
            }
            Origin::LocalCa { root, is_new, .. } => {
                let new = if *is_new { "made just now, " } else { "" };
                let trust = if is_trusted_by_system(root) {
                    "trusted by this system"
                } else {
                    "not trusted by browsers yet (sterna trust)"
                };
                format!("local authority, {new}{trust}: {}", root.display())
            }
        }
    }

    /// Where a client finds the server, such as `https://localhost:8443/`.
    fn url(&self) -> Option<String> {
        let (listen, address) = (self.listen.first()?, self.addresses.first()?);
        let host = self.host.map_or_else(|| listen.host(), str::to_owned);
        Some(format!("https://{host}:{}/", address.port()))
    }

    /// Commands that work as they stand.
    fn commands(&self, url: &str) -> Vec<String> {
        let trust = match self.certificate.local_root() {
            Some(root) => format!("--cacert {}", quoted(&root.display().to_string())),
            None => "--insecure".to_owned(),
        };
        // It believes the local authority by itself, for this machine.
        let get = match &self.certificate.local_root() {
            Some(_) => format!("sterna get --http3 -v {url}"),
            None => format!("sterna get --http3 -v --insecure {url}"),
        };
        let mut commands = vec![get, format!("curl {trust} {url}")];
        if let Some(spki) = self.certificate.local_spki() {
            let authority = url.trim_start_matches("https://").trim_end_matches('/');
            // A profile of its own: a running Chrome would take the page and ignore the flags.
            commands.push(format!(
                "google-chrome --user-data-dir=/tmp/sterna-chrome \
                 --origin-to-force-quic-on={authority} \
                 --ignore-certificate-errors-spki-list={spki} {url}"
            ));
        }
        commands
    }
}

/// A word of a shell command.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@%".contains(&byte);
    if word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_space_or_a_quote_is_one_word_for_the_shell() {
        assert_eq!(quoted("/a/b.crt"), "/a/b.crt");
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

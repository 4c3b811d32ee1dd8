//! `${NAME}`, `${NAME:-default}` and `${file:/path}` within a text. `$${` is a plain `${`.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::problem::{Mistake, Place, Problems};
use super::value::Text;

/// Where references lead: the process's own surroundings, or those of a test.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// The value of an environment variable.
    pub variable: fn(&str) -> Option<String>,
    /// The content of a file.
    pub file: fn(&Path) -> io::Result<String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self { variable: |name| std::env::var(name).ok(), file: read_file }
    }

    /// One in which nothing is set and no file is there: for text that nobody trusts.
    pub fn empty() -> Self {
        Self { variable: |_| None, file: |_| Err(io::ErrorKind::NotFound.into()) }
    }
}

/// `text` with every reference replaced; `None` when one leads nowhere, which has been added to `problems` then.
pub(super) fn expand(
    text: &str,
    place: &Place,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<Text> {
    let mut expanded = String::new();
    let before = problems.len();
    let (mut rest, mut is_changed) = (text, false);
    while let Some(at) = rest.find("${") {
        let (head, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(plain) = head.strip_suffix('$') {
            expanded.push_str(plain);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(head);
        let Some(end) = after.find('}') else {
            problems.add(
                place,
                wrong(&rest[at..], "has no end: write `${NAME}`, or `$${` for the characters"),
            );
            rest = "";
            break;
        };
        let reference = &after[..end];
        match look_up(reference, place, environment, problems) {
            Ok(value) => expanded.push_str(&value),
            Err(reason) => problems.add(place, wrong(&format!("${{{reference}}}"), &reason)),
        }
        is_changed = true;
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    let written = is_changed.then(|| text.to_owned());
    (problems.len() == before).then_some(Text { text: expanded, written })
}

fn wrong(read: &str, reason: &str) -> Mistake {
    Mistake::Value { read: read.to_owned(), reason: reason.to_owned() }
}

fn look_up(
    reference: &str,
    place: &Place,
    environment: &Environment,
    problems: &Problems,
) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        let path = problems.sources.resolve(place.source, Path::new(path));
        let content = (environment.file)(&path);
        let content = content.map_err(|error| format!("cannot be read: {error}"))?;
        // An editor ends a file with a newline that is no part of the secret.
        return Ok(content.strip_suffix('\n').unwrap_or(&content).to_owned());
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(
            "is no reference: write `${NAME}`, `${NAME:-default}` or `${file:/path}`".into()
        );
    }
    let value = (environment.variable)(name).or_else(|| default.map(str::to_owned));
    value.ok_or_else(|| format!("is not set: set it, or write `${{{name}:-default}}`"))
}

/// A regular file of text, up to [`MAX_FILE`].
fn read_file(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut content = String::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 KiB"));
    }
    Ok(content)
}

/// In bytes: a secret or a short text, and no log file.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            variable: |name| (name == "NAME").then(|| "value".to_owned()),
            file: |path| match path.to_str() {
                Some("/secret") => Ok("s3cret\n".to_owned()),
                _ => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    fn expanded(text: &str) -> (Option<String>, usize) {
        let mut problems = Problems::default();
        let text = expand(text, &Place::default(), &environment(), &mut problems);
        (text.map(|text| text.text), problems.len())
    }

    #[test]
    fn references_are_replaced_and_a_doubled_dollar_is_one() {
        for (text, becomes) in [
            ("plain $ text {}", "plain $ text {}"),
            ("a ${NAME} b", "a value b"),
            ("${NAME:-other}${OTHER:-}${OTHER:-x:-y}", "valuex:-y"),
            ("Bearer ${file:/secret}", "Bearer s3cret"),
            ("$${NAME} $$ ${NAME}", "${NAME} $$ value"),
        ] {
            assert_eq!(expanded(text), (Some(becomes.to_owned()), 0), "{text}");
        }
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_a_problem() {
        for text in ["${OTHER}", "${file:/nowhere}", "${", "${NAME", "${}", "${a b}", "a${-:-b}"] {
            assert_eq!(expanded(text), (None, 1), "{text}");
        }
    }

    #[test]
    fn what_was_replaced_is_shown_as_it_was_written() {
        let mut problems = Problems::default();
        let mut shown = |text| {
            let text = expand(text, &Place::default(), &environment(), &mut problems);
            serde_json::to_value(&text).expect("a string")
        };
        assert_eq!(shown("Bearer ${file:/secret}"), "Bearer ${file:/secret}");
        assert_eq!(shown("$${plain}"), "$${plain}");
    }

    #[test]
    fn a_file_that_is_none_or_too_large_is_refused() {
        let refused = read_file(Path::new("/dev/zero")).expect_err("no regular file");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let path = std::env::temp_dir().join(format!("sterna-expand-{}", std::process::id()));
        for (len, is_read) in [(MAX_FILE as usize, true), (MAX_FILE as usize + 1, false)] {
            fs::write(&path, "x".repeat(len)).expect("written");
            assert_eq!(read_file(&path).is_ok(), is_read, "{len}");
        }
        fs::remove_file(path).expect("removed");
    }
}

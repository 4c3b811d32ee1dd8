//! The media type of a file, by the ending of its name.

use http::HeaderValue;
use mime_guess::MimeGuess;

/// The `Content-Type` of the file called `name`; bytes of no known kind for an unknown ending.
///
/// Text is declared as UTF-8: without it a browser guesses, and guesses Windows-1252.
pub(super) fn content_type(name: &[u8]) -> HeaderValue {
    let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let dot = file.iter().rposition(|&byte| byte == b'.');
    let ending = dot.and_then(|dot| std::str::from_utf8(&file[dot + 1..]).ok()).unwrap_or_default();
    // The few of nearly every site, without a search and a copy.
    match ending {
        "html" => HeaderValue::from_static("text/html; charset=utf-8"),
        "css" => HeaderValue::from_static("text/css; charset=utf-8"),
        "js" | "mjs" => HeaderValue::from_static("text/javascript; charset=utf-8"),
        "txt" => HeaderValue::from_static("text/plain; charset=utf-8"),
        _ => match MimeGuess::from_ext(ending).first_raw() {
            Some(text) if text.starts_with("text/") => {
                let value = HeaderValue::try_from(format!("{text}; charset=utf-8"));
                value.unwrap_or(BYTES)
            }
            Some(other) => HeaderValue::from_static(other),
            None => BYTES,
        },
    }
}

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_gives_the_type_and_text_is_utf8() {
        let table = [
            ("index.html", "text/html; charset=utf-8"),
            ("a.b/style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("notes.md", "text/markdown; charset=utf-8"),
            ("UPPER.HTML", "text/html; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("photo.jpg", "image/jpeg"),
            ("app.wasm", "application/wasm"),
            ("data.json", "application/json"),
            ("film.mp4", "video/mp4"),
            ("archive.tar.gz", "application/gzip"),
            ("unknown.zzz", "application/octet-stream"),
            ("html", "application/octet-stream"),
            ("dir.html/file", "application/octet-stream"),
            ("dot.", "application/octet-stream"),
            ("", "application/octet-stream"),
        ];
        for (name, expected) in table {
            assert_eq!(content_type(name.as_bytes()), expected, "{name}");
        }
    }
}

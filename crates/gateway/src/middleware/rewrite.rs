//! Another path for the handler than the client asked for. The route stays the one that was found.
//!
//! What stands in a request cannot lead out of what the configuration says: a path with a segment `.` or `..`, in
//! whatever spelling, is 400 where it would be rewritten, and no path begins with two slashes afterwards.

use std::borrow::Cow;
use std::str::FromStr;

use http::header::LOCATION;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::{Middleware, Step};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::route::Pattern;
use crate::shared::Build;
use crate::{Request, Response};

/// Configuration of `strip_prefix` and `rewrite`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is taken off the front of the path, if it is there.
    pub strip: Option<Prefix>,
    /// What the path becomes; `{path}` in it is what is left after that.
    pub template: Option<Template>,
}

/// The beginning of a path: whole segments, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    segments: Vec<String>,
}

/// Why a text is no [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the beginning of a path: write `/api`, without a slash at the end, a star or a query"
)]
pub struct NotAPrefix;

impl FromStr for Prefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let path = text.strip_prefix('/').ok_or(NotAPrefix)?;
        let is_plain = |c: char| c.is_ascii_graphic() && !"*?#%{}\\\"<>^`|".contains(c);
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let is_one = path.chars().all(is_plain)
            && segments.iter().all(|segment| !matches!(&**segment, "" | "." | ".."));
        is_one.then_some(Self { segments }).ok_or(NotAPrefix)
    }
}

impl Prefix {
    /// As it is written.
    fn text(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// What follows it in a path, with the slash in front; `None` where the path begins otherwise.
    fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut rest = path;
        for segment in &self.segments {
            let inner = rest.strip_prefix('/')?;
            let end = inner.find('/').unwrap_or(inner.len());
            let (first, after) = inner.split_at(end);
            // As the router compares: a path has more than one spelling.
            if decoded(first) != segment.as_str() {
                return None;
            }
            rest = after;
        }
        Some(if rest.is_empty() { "/" } else { rest })
    }

    /// Whether a path of this pattern can begin so.
    pub fn can_begin(&self, pattern: &Pattern) -> bool {
        let sample = pattern.to_string();
        let mut theirs = sample.trim_start_matches('/').split('/');
        for ours in &self.segments {
            match theirs.next() {
                Some("*") => return true,
                Some(segment) if segment == ours || segment.starts_with('{') => {}
                Some(_) | None => return false,
            }
        }
        true
    }
}

/// What a path becomes: `/v2{path}`, `/users/{id}`, `/search?q={q}`.
///
/// The query stays what it was, unless the template has a question mark or `{query}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    keeps_query: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path,
    Query,
    /// A segment by its name in the pattern of the route.
    Parameter(String),
}

/// Why a text is no [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATemplate {
    /// It begins with something else.
    #[error("is not a path: begin with `/` or `{{path}}`")]
    NoSlash,
    /// A brace without its other half, or nothing in between.
    #[error("has a brace that makes no parameter such as `{{id}}`")]
    Brace,
    /// A path cannot have this.
    #[error("has `{}`, which cannot be in a path: encode it with `%`", _0.escape_default())]
    Character(char),
}

impl FromStr for Template {
    type Err = NotATemplate;

    fn from_str(text: &str) -> Result<Self, NotATemplate> {
        let is_bad = |c: &char| !c.is_ascii_graphic() || "\"<>\\^`|#".contains(*c);
        if let Some(bad) = text.chars().find(is_bad) {
            return Err(NotATemplate::Character(bad));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            let inner = from_brace.strip_prefix('{').ok_or(NotATemplate::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(NotATemplate::Brace)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "path" => Piece::Path,
                "query" => Piece::Query,
                "" => return Err(NotATemplate::Brace),
                name if name.contains('{') => return Err(NotATemplate::Brace),
                name => Piece::Parameter(name.to_owned()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let begins = match pieces.first() {
            Some(Piece::Path) => true,
            Some(Piece::Text(text)) => text.starts_with('/'),
            Some(Piece::Query | Piece::Parameter(_)) | None => false,
        };
        if !begins {
            return Err(NotATemplate::NoSlash);
        }
        let keeps_query = !text.contains('?') && !pieces.contains(&Piece::Query);
        Ok(Self { pieces, keeps_query })
    }
}

impl Template {
    /// The names of segments that it needs.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(name.as_str()),
            Piece::Text(_) | Piece::Path | Piece::Query => None,
        })
    }

    /// Path and query; `None` when the request has no segment of a name.
    fn fill(
        &self,
        pattern: &Pattern,
        asked: &str,
        path: &str,
        query: Option<&str>,
    ) -> Option<String> {
        let mut text = String::with_capacity(asked.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                // Behind a slash it brings none.
                Piece::Path if text.ends_with('/') => text.push_str(path.trim_start_matches('/')),
                Piece::Path => text.push_str(path),
                Piece::Query => push_query(query, &mut text),
                Piece::Parameter(name) => text.push_str(pattern.segment(name, asked)?),
            }
        }
        if self.keeps_query {
            push_query(query, &mut text);
        }
        Some(text)
    }
}

/// With the mark that separates it from what is there.
fn push_query(query: Option<&str>, to: &mut String) {
    let Some(query) = query else { return };
    to.push(if to.contains('?') { '&' } else { '?' });
    to.push_str(query);
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Rewrite {
        let pattern = build.path.cloned().unwrap_or_else(Pattern::any);
        let forwarded = self.strip.as_ref().map(|prefix| {
            HeaderValue::try_from(prefix.text()).unwrap_or(HeaderValue::from_static(""))
        });
        Rewrite { config: self.clone(), pattern, forwarded }
    }
}

/// Changes the path.
#[derive(Debug)]
pub(crate) struct Rewrite {
    config: Config,
    /// Of the route; names the parameters.
    pattern: Pattern,
    /// What the handler is told to have been taken off.
    forwarded: Option<HeaderValue>,
}

impl Middleware for Rewrite {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        // What is no path, such as the `*` of OPTIONS, is about the server and not about a path.
        if !request.uri().path().starts_with('/') {
            return Step::pass();
        }
        match self.rewrite(request) {
            Ok(Some(pair)) => exchange.notes_mut().rewritten = Some(pair),
            Ok(None) => {}
            Err(error) => return Step::refuse(error),
        }
        Step::pass()
    }

    /// A redirect of the handler to its own path with a slash, as for a directory, is one to the client's path.
    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        if !response.status().is_redirection() {
            return response;
        }
        let rewritten = exchange.notes().and_then(|notes| notes.rewritten.as_ref());
        let Some((asked, seen)) = rewritten else { return response };
        let Some(location) = response.headers().get(LOCATION) else { return response };
        let to = location.as_bytes();
        let to_path = to.split(|&byte| byte == b'?').next().unwrap_or_default();
        let is_directory = to_path.strip_suffix(b"/") == Some(seen.path().as_bytes());
        if is_directory {
            let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
            let to = format!("{}/{query}", asked.path());
            if let Ok(to) = HeaderValue::try_from(to) {
                response.headers_mut().insert(LOCATION, to);
            }
        }
        response
    }
}

impl Rewrite {
    /// The path as it was and as it is, if it is another.
    fn rewrite(
        &self,
        request: &mut Request,
    ) -> Result<Option<(PathAndQuery, PathAndQuery)>, Error> {
        let asked = request.uri().path_and_query().cloned().ok_or(Error::Malformed)?;
        if climbs(asked.path()) {
            return Err(Error::Malformed);
        }
        let Config { strip, template } = &self.config;
        let stripped = strip.as_ref().and_then(|prefix| prefix.strip(asked.path()));
        // Of a client it is a claim like others, and a rewritten request keeps what stands here.
        request.headers_mut().remove(FORWARDED_PREFIX);
        if stripped.is_some()
            && let Some(prefix) = &self.forwarded
        {
            request.headers_mut().insert(FORWARDED_PREFIX, prefix.clone());
        }
        let path = stripped.unwrap_or(asked.path());
        let query = asked.query();
        let target = match template {
            Some(template) => {
                let target = template.fill(&self.pattern, asked.path(), path, query);
                target.ok_or(Error::Malformed)?
            }
            None if stripped.is_none() => return Ok(None),
            None => {
                let mut target = path.to_owned();
                push_query(query, &mut target);
                target
            }
        };
        let target: PathAndQuery = one_slash(&target).parse().map_err(|_| Error::Malformed)?;
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(target.clone());
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Error::Malformed)?;
        Ok(Some((asked, target)))
    }
}

/// Two slashes in front would be the host of another server to some.
fn one_slash(target: &str) -> Cow<'_, str> {
    match target.strip_prefix("//") {
        Some(rest) => Cow::Owned(format!("/{}", rest.trim_start_matches('/'))),
        None => Cow::Borrowed(target),
    }
}

/// Whether a segment is `.` or `..` to anybody: encoded or not, and with a backslash or an encoded slash around it.
fn climbs(path: &str) -> bool {
    if !path.contains('.') && !path.contains('%') {
        return false;
    }
    decoded(path).split(['/', '\\']).any(|segment| {
        // Some servers take what follows a semicolon for a parameter.
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// What applications that make links read.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

#[cfg(test)]
mod tests;

//! Files of a directory.
//!
//! GET and HEAD, the index of a directory, one byte range, validators and conditional requests
//! (RFC 9110 §8.8, §13, §14). [`path`] reads the name out of the request, [`root`] opens it and nothing
//! outside, [`conditional`] and [`range`] decide what of it to send, [`stream`] sends it. Hidden files and
//! everything that is no regular file are not served.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION,
    RANGE,
};
use http::{HeaderValue, Method, StatusCode};
use rustix::fs::{FileType, Stat, fstat};

use self::conditional::{Validators, Verdict};
use self::path::{Name, Refusal};
use self::range::Selection;
pub use self::root::{Root, RootError};
use self::stream::CHUNK;
pub(crate) use self::stream::FileStream;
pub use self::stream::ReadError;
use super::{Handler, only_reads};
use crate::body::Body;
use crate::error::{Error, page};
use crate::{Request, Response};

mod conditional;
mod content_type;
mod path;
mod range;
mod root;
mod stream;

/// Configuration of `files`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory.
    pub root: Root,
}

impl Config {
    pub(crate) fn build(&self) -> Files {
        Files { root: self.root.clone() }
    }
}

/// Serves the files below one directory.
#[derive(Debug)]
pub(crate) struct Files {
    root: Root,
}

impl Handler for Files {
    async fn handle(&self, request: Request) -> Result<Response, Error> {
        only_reads(&request)?;
        let name = Name::parse(request.uri().path())?;
        let name = name.file();
        let file = self.root.file(&name).await?;
        let stat = fstat(&file).map_err(|errno| Error::Io(errno.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(to_directory(&request)),
            _ => return Err(Error::NotFound),
        }
        let found = Found::new(&stat, content_type::content_type(&name));
        match found.validators.evaluate(request.headers()) {
            Verdict::NotModified => Ok(found.not_modified()),
            Verdict::Failed => Ok(page(StatusCode::PRECONDITION_FAILED)),
            Verdict::Proceed => found.send(file, &request).await,
        }
    }
}

/// A regular file that exists.
struct Found {
    len: u64,
    content_type: HeaderValue,
    validators: Validators,
}

impl Found {
    fn new(stat: &Stat, content_type: HeaderValue) -> Self {
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        Self { len, content_type, validators: validators(stat, len, SystemTime::now()) }
    }

    /// All of the file, or the part that the request asks for.
    async fn send(&self, file: OwnedFd, request: &Request) -> Result<Response, Error> {
        match self.select(request) {
            Selection::Unsatisfiable => {
                let mut response = page(StatusCode::RANGE_NOT_SATISFIABLE);
                let range = value(&format!("bytes */{}", self.len));
                response.headers_mut().insert(CONTENT_RANGE, range);
                Ok(response)
            }
            Selection::Whole => {
                let body = content(file, 0, self.len, request).await?;
                Ok(self.response(StatusCode::OK, self.len, body))
            }
            Selection::Part(part) => {
                let body = content(file, part.first, part.len(), request).await?;
                let mut response = self.response(StatusCode::PARTIAL_CONTENT, part.len(), body);
                let range = value(&part.content_range(self.len));
                response.headers_mut().insert(CONTENT_RANGE, range);
                Ok(response)
            }
        }
    }

    /// `Range` is defined for GET alone (RFC 9110 §14.2).
    fn select(&self, request: &Request) -> Selection {
        let mut fields = request.headers().get_all(RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Selection::Whole };
        let applies = request.method() == Method::GET
            && self.validators.range_applies(request.headers(), SystemTime::now());
        if applies { Selection::parse(field.as_bytes(), self.len) } else { Selection::Whole }
    }

    fn response(&self, status: StatusCode, len: u64, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        self.validate(response)
    }

    /// 304, with the fields that a cache brings up to date by it (RFC 9110 §15.4.5).
    fn not_modified(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.validate(response)
    }

    fn validate(&self, mut response: Response) -> Response {
        let Validators { etag, modified } = &self.validators;
        response.headers_mut().insert(ETAG, value(etag));
        if let Some(modified) = *modified {
            let date = value(&httpdate::fmt_http_date(modified));
            response.headers_mut().insert(LAST_MODIFIED, date);
        }
        response
    }
}

/// `len` bytes of a file from `position` on.
///
/// What fits one chunk is read before the head is sent: head and content then leave together, and
/// a file that cannot be read is still an honest 500.
async fn content(file: OwnedFd, position: u64, len: u64, request: &Request) -> Result<Body, Error> {
    if request.method() == Method::HEAD {
        return Ok(Body::empty());
    }
    let stream = FileStream::new(file, position, len);
    if len > CHUNK as u64 {
        return Ok(Body::file(stream));
    }
    match stream.whole().await {
        Ok(content) => Ok(Body::full(content)),
        Err(error) => Err(Error::Content(error)),
    }
}

/// The validators of a file of which `stat` was read at `now`.
///
/// The tag is strong: content that changes shows in the length, the time in nanoseconds, or, when
/// a new file took the name, the inode. A time ahead of our clock is not told, for a
/// `Last-Modified` after `Date` is forbidden (RFC 9110 §8.8.2.1).
fn validators(stat: &Stat, len: u64, now: SystemTime) -> Validators {
    let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
    let etag = format!("\"{:x}-{len:x}-{seconds:x}.{nanos:x}\"", stat.st_ino);
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    let modified = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    Validators { etag, modified: modified.filter(|&modified| modified <= now) }
}

/// To the same path with a slash at its end, so that the links of an index lead below it.
///
/// The path has no empty segment, else it would have been refused: `//elsewhere` cannot become a
/// `Location` of another host.
fn to_directory(request: &Request) -> Response {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = page(StatusCode::MOVED_PERMANENTLY);
    response.headers_mut().insert(LOCATION, value(&format!("{}/{query}", uri.path())));
    response
}

/// Text that is a field value by its making: visible ASCII.
fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::Malformed,
            Refusal::Hidden => Self::NotFound,
        }
    }
}

#[cfg(test)]
mod tests;

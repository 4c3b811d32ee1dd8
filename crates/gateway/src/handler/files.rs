//! Files of a directory.
//!
//! GET and HEAD, the index of a directory, one byte range, validators and conditional requests
//! (RFC 9110 §8.8, §13, §14). [`path`] reads the name out of the request, [`root`] opens it and nothing
//! outside, [`document`] decides what of it to send, [`stream`] sends it, and [`cache`] keeps what is small
//! and asked for. Hidden files and everything that is no regular file are not served.

use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};
use rustix::fs::{FileType, fstat};

use self::cache::{Cache, Kept};
use self::document::{Document, Outcome};
use self::path::{Name, Refusal};
pub use self::root::{Root, RootError};
use self::stream::CHUNK;
pub(crate) use self::stream::FileStream;
pub use self::stream::ReadError;
use super::{Handler, only_reads};
use crate::body::Body;
use crate::error::{Error, page};
use crate::{Request, Response};

mod cache;
mod conditional;
mod content_type;
mod document;
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
        Files { root: self.root.clone(), cache: Cache::default() }
    }
}

/// Serves the files below one directory.
#[derive(Debug)]
pub(crate) struct Files {
    root: Root,
    /// Of this worker.
    cache: Cache,
}

impl Handler for Files {
    async fn handle(&self, request: &mut Request) -> Result<Response, Error> {
        only_reads(request)?;
        match self.cache.find(request.uri().path(), &self.root) {
            Some(kept) => Ok(kept.answer(request)),
            // In a box, so that the future of every request is not as large as this one.
            None => Box::pin(self.open(request)).await,
        }
    }
}

impl Files {
    /// Answers from the file system.
    async fn open(&self, request: &Request) -> Result<Response, Error> {
        let name = Name::parse(request.uri().path())?;
        let name = name.file();
        let file = self.root.file(&name).await?;
        let stat = fstat(&file).map_err(|errno| Error::Io(errno.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(to_directory(request)),
            _ => return Err(Error::NotFound),
        }
        let document = Document::new(&stat, &name);
        let part = match document.evaluate(request) {
            Outcome::Answer(response) => return Ok(response),
            Outcome::Send(part) => part,
        };
        if request.method() == Method::HEAD {
            return Ok(document.respond(part, Body::empty()));
        }
        if document.len() > CHUNK as u64 {
            let (first, len) = part.map_or((0, document.len()), |part| (part.first, part.len()));
            let body = Body::file(FileStream::new(file, first, len));
            return Ok(document.respond(part, body));
        }
        // Read before the head is sent: head and content then leave together, and a file that
        // cannot be read is still an honest 500.
        let content = FileStream::new(file, 0, document.len()).whole().await;
        let kept = Kept::new(name.into_owned(), document, content.map_err(Error::Content)?);
        Ok(self.cache.keep(request.uri().path(), kept).send(part))
    }
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

//! Files of a directory.
//!
//! GET and HEAD, the index of a directory, byte ranges, validators and conditional requests
//! (RFC 9110 §8.8, §13, §14), and files that lie ready in another coding. [`path`] reads the name out
//! of the request, [`root`] opens it and nothing outside, [`crate::encoding`] chooses the form, [`document`]
//! decides what of it to send, [`stream`] and [`multipart`] send it, and [`cache`] keeps what is small and
//! asked for; [`listing`] shows a directory. Hidden files and everything that is no regular file are not
//! served.

use std::time::Instant;

use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, ETAG, LAST_MODIFIED, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use rustix::fs::{FileType, fstat};

use self::cache::{Cache, Kept};
use self::content_type::content_type;
use self::document::{Document, Form, Identity, Outcome};
use self::listing::Listing;
pub(crate) use self::multipart::MultipartStream;
use self::path::{Name, Refusal};
pub use self::root::{Root, RootError};
use self::stream::CHUNK;
pub(crate) use self::stream::FileStream;
pub use self::stream::ReadError;
use super::{Handler, only_reads};
use crate::body::Body;
use crate::encoding::{Accepts, is_compressible};
use crate::error::{Error, page};
use crate::exchange::Exchange;
use crate::{Request, Response};

mod cache;
mod conditional;
mod content_type;
mod document;
mod listing;
mod multipart;
mod path;
mod range;
mod root;
mod stream;

/// Configuration of `files`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory.
    pub root: Root,
    /// What stands for a directory: the first of these names that is a file in it. Default:
    /// `index.html`.
    pub index: Vec<String>,
    /// Send `NAME.br`, `NAME.zst` or `NAME.gz` in place of `NAME` to clients that accept it, when it is
    /// not older. Only for types that compress. Default: true.
    pub precompressed: bool,
    /// The file, by its name below the directory, that answers 200 where there is none, as the page of an
    /// application that reads its own path. Not for names with an ending, unless the client asks for
    /// HTML: a script that is missing should be a 404. Default: none.
    pub fallback: Option<String>,
    /// The file, by its name below the directory, that is the content of a 404. Default: a page of ours.
    pub not_found: Option<String>,
    /// List directories without an index. Default: false.
    pub listing: bool,
}

impl Config {
    /// The files below `root`, with the defaults.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            index: vec!["index.html".to_owned()],
            precompressed: true,
            fallback: None,
            not_found: None,
            listing: false,
        }
    }

    pub(crate) fn build(&self) -> Files {
        Files { config: self.clone(), cache: Cache::default() }
    }
}

/// Serves the files below one directory.
#[derive(Debug)]
pub(crate) struct Files {
    config: Config,
    /// Of this worker.
    cache: Cache,
}

/// What a name leads to.
enum Found {
    File(Box<Opened>),
    Directory,
}

/// A file that is open.
struct Opened {
    name: Vec<u8>,
    file: std::os::fd::OwnedFd,
    document: Document,
    /// Of an encoded file: that which it was made of, with its name.
    original: Option<(Vec<u8>, Identity)>,
}

impl Handler for Files {
    async fn handle(&self, _: &mut Exchange, request: &mut Request) -> Result<Response, Error> {
        only_reads(request)?;
        let accepts = self.accepts(request);
        match self.kept(accepts, request.uri().path()) {
            Some(kept) => Ok(kept.answer(request)),
            // In a box, so that the future of every request is not as large as this one.
            None => Box::pin(self.open(request, accepts)).await,
        }
    }
}

impl Files {
    fn accepts(&self, request: &Request) -> Accepts {
        if self.config.precompressed { Accepts::of(request.headers()) } else { Accepts::default() }
    }

    fn kept(&self, accepts: Accepts, key: &str) -> Option<std::rc::Rc<Kept>> {
        self.cache.find(accepts, key, &self.config.root, Instant::now())
    }

    /// Answers from the file system.
    async fn open(&self, request: &Request, accepts: Accepts) -> Result<Response, Error> {
        match self.lookup(request, accepts).await {
            Err(Error::NotFound) => self.missing(request, accepts).await,
            answer => answer,
        }
    }

    /// The file of this name, the index of the directory, or what stands for it.
    async fn lookup(&self, request: &Request, accepts: Accepts) -> Result<Response, Error> {
        let path = request.uri().path();
        let name = Name::parse(path)?;
        for file in name.files(&self.config.index) {
            match self.find(&file, accepts).await {
                Ok(Found::File(file)) => return self.answer(request, accepts, path, *file).await,
                Ok(Found::Directory) if !name.is_directory() => return Ok(to_directory(request)),
                Ok(Found::Directory) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        if self.config.listing && name.is_directory() {
            match Listing::read(&self.config.root, name.bare()).await {
                Ok(listing) => return Ok(listing.respond(name.bare())),
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        match &self.config.fallback {
            Some(fallback) if !name.has_ending() || wants_html(request) => {
                self.named(fallback, request, accepts).await
            }
            _ => Err(Error::NotFound),
        }
    }

    /// 404 with the page of the site, if it has one.
    async fn missing(&self, request: &Request, accepts: Accepts) -> Result<Response, Error> {
        let Some(page) = &self.config.not_found else { return Err(Error::NotFound) };
        // The conditions and the range of the request are about what is not there.
        let mut bare = Request::new(sterna_net::Body::empty());
        if let Some(codings) = request.headers().get(ACCEPT_ENCODING) {
            bare.headers_mut().insert(ACCEPT_ENCODING, codings.clone());
        }
        let mut response = self.named(page, &bare, accepts).await?;
        *response.status_mut() = StatusCode::NOT_FOUND;
        for of_the_page in [ACCEPT_RANGES, ETAG, LAST_MODIFIED] {
            response.headers_mut().remove(of_the_page);
        }
        Ok(response)
    }

    /// Answers with a file that the configuration names.
    async fn named(
        &self,
        name: &str,
        request: &Request,
        accepts: Accepts,
    ) -> Result<Response, Error> {
        // Without a slash in front, so that it is the key of no path.
        let name = name.trim_start_matches('/');
        if let Some(kept) = self.kept(accepts, name) {
            return Ok(kept.answer(request));
        }
        match self.find(name.as_bytes(), accepts).await? {
            Found::File(file) => self.answer(request, accepts, name, *file).await,
            Found::Directory => Err(Error::NotFound),
        }
    }

    /// Opens the file called `name` in the form that the client likes best.
    async fn find(&self, name: &[u8], accepts: Accepts) -> Result<Found, Error> {
        let file = self.config.root.file(name).await?;
        let stat = fstat(&file).map_err(|errno| Error::Io(errno.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Found::Directory),
            _ => return Err(Error::NotFound),
        }
        let form = self.form(name);
        if form.varies
            && let Some(encoded) = self.encoded(name, &Identity::of(&stat), &form, accepts).await
        {
            return Ok(Found::File(Box::new(encoded)));
        }
        let (name, document) = (name.to_owned(), Document::new(&stat, form));
        Ok(Found::File(Box::new(Opened { name, file, document, original: None })))
    }

    fn form(&self, name: &[u8]) -> Form {
        let content_type = content_type(name);
        let varies = self.config.precompressed && content_type.to_str().is_ok_and(is_compressible);
        Form { content_type, coding: None, varies }
    }

    /// The best form of a file in which it lies ready; one that is older than the file is not it any more.
    async fn encoded(
        &self,
        name: &[u8],
        original: &Identity,
        form: &Form,
        accepts: Accepts,
    ) -> Option<Opened> {
        for coding in accepts.codings() {
            let encoded = [name, coding.ending()].concat();
            let Ok(file) = self.config.root.file(&encoded).await else { continue };
            let Ok(stat) = fstat(&file) else { continue };
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if is_file && Identity::of(&stat).is_as_new_as(original) {
                let form = Form { coding: Some(coding), ..form.clone() };
                let document = Document::new(&stat, form);
                let original = Some((name.to_owned(), original.clone()));
                return Some(Opened { name: encoded, file, document, original });
            }
        }
        None
    }

    /// What a request gets of an open file, which is kept under `key` if it is small.
    async fn answer(
        &self,
        request: &Request,
        accepts: Accepts,
        key: &str,
        opened: Opened,
    ) -> Result<Response, Error> {
        let Opened { name, file, document, original } = opened;
        let wanted = document.evaluate(request);
        if let Outcome::Answer(response) = wanted {
            return Ok(response);
        }
        if request.method() == Method::HEAD {
            return Ok(document.respond(None, Body::empty()));
        }
        let len = document.len();
        if len > CHUNK as u64 {
            return Ok(match wanted {
                Outcome::Answer(response) => response,
                Outcome::Send(part) => {
                    let (first, len) = part.map_or((0, len), |part| (part.first, part.len()));
                    document.respond(part, Body::file(FileStream::new(file, first, len)))
                }
                Outcome::SendParts(parts) => {
                    let (content_type, len) = (parts.content_type(), parts.len());
                    let body = Body::multipart(parts.stream(FileStream::new(file, 0, 0)));
                    document.respond_parts(content_type, len, body)
                }
            });
        }
        // Read before the head is sent: head and content then leave together, and a file that
        // cannot be read is still an honest 500.
        let content = FileStream::new(file, 0, len).whole().await.map_err(Error::Content)?;
        let kept = self.cache.keep(accepts, key, Kept::new(name, document, original, content));
        Ok(kept.send(wanted))
    }
}

/// Whether the client asks for a page to show: what browsers say when they follow a link.
fn wants_html(request: &Request) -> bool {
    let mut fields = request.headers().get_all(ACCEPT).iter();
    fields.any(|field| field.to_str().is_ok_and(|field| field.contains("text/html")))
}

/// To the same path with a slash at its end, so that the links of an index lead below it.
///
/// The path has no empty segment, else it would have been refused: `//elsewhere` cannot become a
/// `Location` of another host.
fn to_directory(request: &Request) -> Response {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = page(StatusCode::MOVED_PERMANENTLY, request.headers());
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

/// A file as it lies there, of the type that its name tells.
#[cfg(test)]
fn plain(name: &[u8]) -> Form {
    Form { content_type: content_type(name), coding: None, varies: false }
}

#[cfg(test)]
mod tests;

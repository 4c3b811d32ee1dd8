//! A regular file as it was at one moment: its validators, its fields, and what a request gets of it.
//!
//! Nothing is read here; the content is the caller's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use rustix::fs::Stat;

use super::conditional::{Validators, Verdict};
use super::multipart::Multipart;
use super::range::{Part, Selection};
use super::value;
use crate::body::Body;
use crate::encoding::Coding;
use crate::error::page;
use crate::{Request, Response};

/// One state of a file.
#[derive(Debug)]
pub(super) struct Document {
    identity: Identity,
    len: u64,
    validators: Validators,
    /// `ETag`, `Last-Modified` and `Vary`, which go on 304 too.
    validator_fields: HeaderMap,
    /// All fields of 200. A copy of the map costs two allocations; to insert one by one costs a hash for each.
    fields: HeaderMap,
    form: Form,
}

/// In which form a file is sent.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// The type of the original.
    pub(super) content_type: HeaderValue,
    /// The coding of these bytes.
    pub(super) coding: Option<Coding>,
    /// Whether another request might get another coding.
    pub(super) varies: bool,
}

/// What a request comes to.
pub(super) enum Outcome {
    /// The answer has no content of the file: 304, 412 or 416.
    Answer(Response),
    /// The part is to be sent, or all of it.
    Send(Option<Part>),
    /// Several parts are to be sent.
    SendParts(Multipart),
}

impl Document {
    /// The state that `stat` shows of a file in this form.
    pub(super) fn new(stat: &Stat, form: Form) -> Self {
        let identity = Identity::of(stat);
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        let validators = identity.validators(len, form.coding, SystemTime::now());
        let mut validator_fields = HeaderMap::with_capacity(3);
        validator_fields.insert(ETAG, value(&validators.etag));
        if let Some(modified) = validators.modified {
            let date = value(&httpdate::fmt_http_date(modified));
            validator_fields.insert(LAST_MODIFIED, date);
        }
        if form.varies {
            // req: 9110-12.5.5-vary
            validator_fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let mut fields = validator_fields.clone();
        fields.insert(CONTENT_TYPE, form.content_type.clone());
        if let Some(coding) = form.coding {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
        }
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(len));
        Self { identity, len, validators, validator_fields, fields, form }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Which state of which file it is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Looks at the conditions of a request, then at its range (RFC 9110 §13.2.2).
    pub(super) fn evaluate(&self, request: &Request) -> Outcome {
        match self.validators.evaluate(request.headers()) {
            Verdict::NotModified => return Outcome::Answer(self.not_modified()),
            Verdict::Failed => {
                return Outcome::Answer(page(StatusCode::PRECONDITION_FAILED, request.headers()));
            }
            Verdict::Proceed => {}
        }
        match self.select(request) {
            Selection::Unsatisfiable => Outcome::Answer(self.unsatisfiable(request)),
            Selection::Whole => Outcome::Send(None),
            Selection::Part(part) => Outcome::Send(Some(part)),
            // `Content-Encoding` would have to be that of each part, and clients would read it as that
            // of the parts with their heads: what is encoded is sent whole.
            Selection::Parts(_) if self.form.coding.is_some() => Outcome::Send(None),
            Selection::Parts(parts) => {
                Outcome::SendParts(Multipart::new(parts, self.len, &self.form.content_type))
            }
        }
    }

    /// 200 with all of it, or 206 with a part; `body` is the content.
    pub(super) fn respond(&self, part: Option<Part>, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        // req: 9110-15.3.7-validators
        *headers = self.fields.clone();
        if let Some(part) = part {
            // req: 9110-15.3.7.1-content-range
            headers.insert(CONTENT_LENGTH, HeaderValue::from(part.len()));
            headers.insert(CONTENT_RANGE, value(&part.content_range(self.len)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }

    /// 206 with several parts; `body` is all of them with their heads, `len` bytes.
    pub(super) fn respond_parts(
        &self,
        content_type: HeaderValue,
        len: u64,
        body: Body,
    ) -> Response {
        // req: 9110-15.3.7.2-no-content-range
        let mut response = self.respond(None, body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
    }

    /// `Range` is defined for GET alone (RFC 9110 §14.2).
    fn select(&self, request: &Request) -> Selection {
        let mut fields = request.headers().get_all(RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Selection::Whole };
        // req: 9110-14.2-get-only
        let applies = request.method() == Method::GET
            && self.validators.range_applies(request.headers(), SystemTime::now());
        if applies { Selection::parse(field.as_bytes(), self.len) } else { Selection::Whole }
    }

    /// 304, with the fields by which a cache brings its copy up to date (RFC 9110 §15.4.5).
    fn not_modified(&self) -> Response {
        let mut response = Response::new(Body::empty());
        // req: 9110-15.4.5-validators
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = self.validator_fields.clone();
        response
    }

    /// 416, with the length that a better range would lie in.
    fn unsatisfiable(&self, request: &Request) -> Response {
        let mut response = page(StatusCode::RANGE_NOT_SATISFIABLE, request.headers());
        // req: 9110-15.5.17-length
        let range = value(&format!("bytes */{}", self.len));
        response.headers_mut().insert(CONTENT_RANGE, range);
        response
    }
}

/// What differs between two states of a file, and between two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    len: i64,
    /// Seconds and nanoseconds, settable by the owner.
    modified: (i64, u64),
    /// Seconds and nanoseconds, set by the kernel alone.
    changed: (i64, u64),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            len: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether this is not older than `original`: else the original was changed since this was made of it.
    pub(super) fn is_as_new_as(&self, original: &Self) -> bool {
        self.modified >= original.modified
    }

    /// Whether a change after `now` is sure to show.
    ///
    /// A file that was changed just now may be changed again within the same tick of the clock that
    /// its times are taken from; the coarsest, of FAT, ticks every two seconds.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let latest = self.modified.0.max(self.changed.0);
        let latest = u64::try_from(latest).map(Duration::from_secs);
        latest.is_ok_and(|latest| now > UNIX_EPOCH + latest + SETTLING)
    }

    /// The validators of a file of `len` bytes, as told at `now`.
    ///
    /// The tag is strong: content that changes shows in the length, the time in nanoseconds, or, when
    /// a new file took the name, the inode; each coding has its own. A time ahead of our clock is not told, for a
    /// `Last-Modified` after `Date` is forbidden (RFC 9110 §8.8.2.1).
    fn validators(&self, len: u64, coding: Option<Coding>, now: SystemTime) -> Validators {
        let (seconds, nanos) = self.modified;
        let coding = coding.map(|coding| format!("-{}", coding.token())).unwrap_or_default();
        let etag = format!("\"{:x}-{len:x}-{seconds:x}.{nanos:x}{coding}\"", self.inode);
        let since = u64::try_from(seconds).ok().map(Duration::from_secs);
        let modified = since.and_then(|since| UNIX_EPOCH.checked_add(since));
        // req: 9110-8.8.2.1-not-after-date
        Validators { etag, modified: modified.filter(|&modified| modified <= now) }
    }
}

/// More than two ticks of the coarsest clock, with the part of a second that is not looked at.
const SETTLING: Duration = Duration::from_secs(3);

//! A response of HTTP/1.1 as its bytes come: status, length, and where it ends (RFC 9112 §6.3).

use crate::load::Failure;

/// Reads the responses of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    place: Place,
    /// What has come of a head, or of a line of chunks, that is not whole.
    held: Vec<u8>,
    status: u16,
    content: u64,
    /// The connection ends with this response.
    is_last: bool,
    /// The request was HEAD.
    is_head: bool,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All were taken, and the response goes on.
    More,
    /// A response is whole; what is left belongs to the next.
    Whole {
        status: u16,
        content: u64,
        /// The server ends the connection with it.
        is_last: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the status line or the fields.
    Head,
    /// In content of known length.
    Content {
        left: u64,
    },
    /// In content that ends with the connection.
    UntilEnd,
    /// In the line that says how long a chunk is.
    ChunkSize,
    /// In a chunk, and in the line break after it.
    Chunk {
        left: u64,
    },
    ChunkEnd {
        left: u8,
    },
    /// Behind the last chunk: lines until an empty one.
    Trailers,
}

/// How a response goes on after its head.
enum Length {
    Known(u64),
    Chunked,
    UntilEnd,
}

impl Reader {
    pub(super) fn new(is_head: bool) -> Self {
        Self {
            place: Place::Head,
            held: Vec::new(),
            status: 0,
            content: 0,
            is_last: false,
            is_head,
        }
    }

    /// Takes bytes up to the end of a response, and lends the content among them.
    ///
    /// # Errors
    /// What the server has broken.
    pub(super) fn handle(
        &mut self,
        data: &mut &[u8],
        content: &mut impl FnMut(&[u8]),
    ) -> Result<Step, Failure> {
        loop {
            let is_over = match &mut self.place {
                Place::Head => match self.head(data)? {
                    Some(is_over) => is_over,
                    None => return Ok(Step::More),
                },
                Place::Content { left } => {
                    let taken = take(data, left);
                    self.content += taken.len() as u64;
                    content(taken);
                    *left == 0
                }
                Place::UntilEnd => {
                    self.content += data.len() as u64;
                    content(data);
                    *data = &[];
                    false
                }
                Place::ChunkSize => match self.line(data)? {
                    None => return Ok(Step::More),
                    Some(line) => {
                        self.place = match chunk_size(&line)? {
                            0 => Place::Trailers,
                            left => Place::Chunk { left },
                        };
                        false
                    }
                },
                Place::Chunk { left } => {
                    let taken = take(data, left);
                    self.content += taken.len() as u64;
                    content(taken);
                    if *left == 0 {
                        self.place = Place::ChunkEnd { left: 2 };
                    }
                    false
                }
                Place::ChunkEnd { left } => {
                    let expected = if *left == 2 { b'\r' } else { b'\n' };
                    let Some((&byte, rest)) = data.split_first() else { return Ok(Step::More) };
                    if byte != expected {
                        return Err(broken("a chunk is longer than it said"));
                    }
                    *data = rest;
                    *left -= 1;
                    if *left == 0 {
                        self.place = Place::ChunkSize;
                    }
                    false
                }
                Place::Trailers => match self.line(data)? {
                    None => return Ok(Step::More),
                    Some(line) => line.is_empty(),
                },
            };
            if is_over {
                let (status, content, is_last) = (self.status, self.content, self.is_last);
                *self = Self { held: std::mem::take(&mut self.held), ..Self::new(self.is_head) };
                return Ok(Step::Whole { status, content, is_last });
            }
            if data.is_empty() {
                return Ok(Step::More);
            }
        }
    }

    /// The connection has ended: the response that this ends, if there was one.
    ///
    /// # Errors
    /// [`Failure::Truncated`].
    pub(super) fn finish(&mut self) -> Result<Option<(u16, u64)>, Failure> {
        match self.place {
            Place::Head if self.held.is_empty() => Ok(None),
            Place::Head => Err(Failure::Truncated("inside the head")),
            Place::UntilEnd => Ok(Some((self.status, self.content))),
            Place::Content { .. } => Err(Failure::Truncated("less content than content-length")),
            _ => Err(Failure::Truncated("inside chunks")),
        }
    }

    /// Takes a head; whether the response is over with it. `None` when it is not whole.
    fn head(&mut self, data: &mut &[u8]) -> Result<Option<bool>, Failure> {
        // Nearly always whole, in what came.
        if self.held.is_empty()
            && let Some(end) = end_of_head(data, 0)
        {
            let (head, rest) = data.split_at(end);
            *data = rest;
            return self.enter(head).map(Some);
        }
        // The end may lie across what is held and what came.
        let seen = self.held.len();
        let room = MOST_HEAD.saturating_sub(seen).min(data.len());
        self.held.extend_from_slice(&data[..room]);
        match end_of_head(&self.held, seen.saturating_sub(3)) {
            Some(end) => {
                *data = &data[end - seen..];
                let head = std::mem::take(&mut self.held);
                self.enter(&head[..end]).map(Some)
            }
            None if room < data.len() => Err(broken("a head of more than 64 KiB")),
            None => {
                *data = &[];
                Ok(None)
            }
        }
    }

    /// A whole head: what comes after it.
    fn enter(&mut self, head: &[u8]) -> Result<bool, Failure> {
        let (status, is_old, fields) = status_line(head)?;
        self.status = status;
        let mut length = None;
        self.is_last = is_old;
        for line in fields.split(|byte| *byte == b'\n') {
            // Told apart by their first letter: most fields are neither.
            match line.first().map(u8::to_ascii_lowercase) {
                Some(b'c') => {
                    if let Some(value) = value_of(line, b"content-length") {
                        let known = number(value).ok_or_else(|| broken("content-length"))?;
                        if !matches!(length, None | Some(Length::Chunked)) {
                            return Err(broken("two content-lengths"));
                        }
                        // Chunks count before a length (RFC 9112 §6.3).
                        length.get_or_insert(Length::Known(known));
                    } else if let Some(value) = value_of(line, b"connection") {
                        self.is_last |= value.eq_ignore_ascii_case(b"close");
                        self.is_last &= !(is_old && value.eq_ignore_ascii_case(b"keep-alive"));
                    }
                }
                Some(b't') => {
                    if let Some(value) = value_of(line, b"transfer-encoding") {
                        let is_chunked = value.to_ascii_lowercase().ends_with(b"chunked");
                        length = Some(if is_chunked { Length::Chunked } else { Length::UntilEnd });
                    }
                }
                _ => {}
            }
        }
        if (100..200).contains(&status) {
            if status == 101 {
                return Err(broken("101 to a request that asked for nothing of the kind"));
            }
            // The place stays: the final head follows.
            return Ok(false);
        }
        if self.is_head || status == 204 || status == 304 {
            return Ok(true);
        }
        self.place = match length {
            Some(Length::Known(0)) => return Ok(true),
            Some(Length::Known(left)) => Place::Content { left },
            Some(Length::Chunked) => Place::ChunkSize,
            Some(Length::UntilEnd) | None => Place::UntilEnd,
        };
        self.is_last |= self.place == Place::UntilEnd;
        Ok(false)
    }

    /// A line without its break; `None` when it is not whole.
    fn line(&mut self, data: &mut &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let end = data.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(data.len(), |end| end + 1);
        if self.held.len() + taken > MOST_LINE {
            return Err(broken("a line of more than 8 KiB among chunks"));
        }
        let (line, rest) = data.split_at(taken);
        self.held.extend_from_slice(line);
        *data = rest;
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.held);
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
        Ok(Some(line))
    }
}

/// Where the head ends, behind its empty line; looked for from `from` on.
fn end_of_head(data: &[u8], from: usize) -> Option<usize> {
    let rest = data.get(from..)?;
    rest.windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Status, whether it is HTTP/1.0, and the lines after it.
fn status_line(head: &[u8]) -> Result<(u16, bool, &[u8]), Failure> {
    let refuse = || broken("no status line");
    let is_old = match head.get(..9).ok_or_else(refuse)? {
        b"HTTP/1.1 " => false,
        b"HTTP/1.0 " => true,
        _ => return Err(refuse()),
    };
    let digits = head.get(9..12).ok_or_else(refuse)?;
    let status = number(digits).and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| *status >= 100).ok_or_else(refuse)?;
    let end = head.iter().position(|byte| *byte == b'\n').ok_or_else(refuse)?;
    Ok((status, is_old, head.get(end + 1..).unwrap_or_default()))
}

/// The value of a field line, if it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The length of a chunk; what follows a semicolon is nothing to us.
fn chunk_size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| broken("a chunk without its length"))
}

fn take<'a>(data: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
    let (head, tail) = data.split_at(length);
    *data = tail;
    *left -= length as u64;
    head
}

fn broken(what: &str) -> Failure {
    Failure::Protocol(what.to_owned())
}

/// Bytes of a head, and of a line among chunks.
const MOST_HEAD: usize = 64 * 1024;
const MOST_LINE: usize = 8 * 1024;

#[cfg(test)]
mod tests;

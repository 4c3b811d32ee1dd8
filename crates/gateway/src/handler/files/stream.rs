//! The content of a file as chunks: the body of a response.
//!
//! A chunk is read when the protocol asks for it, so that a slow client holds one chunk and what the
//! protocol has in flight. Reading prefers the page cache (`RWF_NOWAIT`), straight on the worker: a
//! copy from memory is shorter than a trip to another thread. Only what would wait for a disk goes to
//! the blocking pool.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};

/// Part of a file, from a position on, as long as it was when the response began.
pub(crate) struct FileStream {
    file: Arc<OwnedFd>,
    buffers: Arc<Buffers>,
    position: u64,
    remaining: u64,
    reading: Option<JoinHandle<(Vec<u8>, io::Result<usize>)>>,
}

impl FileStream {
    /// The `len` bytes from `position`.
    pub(super) fn new(file: OwnedFd, position: u64, len: u64) -> Self {
        let (file, buffers) = (Arc::new(file), Arc::default());
        Self { file, buffers, position, remaining: len, reading: None }
    }

    /// Goes on with another part; what is being read is lost.
    pub(super) fn seek(&mut self, position: u64, len: u64) {
        (self.position, self.remaining, self.reading) = (position, len, None);
    }

    /// All of it at once; meant for no more than [`CHUNK`].
    ///
    /// # Cancel safety
    /// Dropping the future loses the content and nothing else.
    pub(super) async fn whole(mut self) -> Result<Bytes, ReadError> {
        let mut content = Vec::with_capacity(usize::try_from(self.remaining).unwrap_or(CHUNK));
        while let Some(chunk) = std::future::poll_fn(|context| self.poll_chunk(context)).await {
            let chunk = chunk?;
            if self.remaining == 0 && content.is_empty() {
                return Ok(chunk);
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.into())
    }

    /// How many bytes are still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next chunk; `None` when all has been sent.
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ReadError>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let (buffer, read) = match &mut self.reading {
            Some(reading) => {
                let done = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                done.unwrap_or_else(|cause| (Vec::new(), Err(cause.into())))
            }
            None => {
                let most = self.buffers.next_size();
                let want = usize::try_from(self.remaining).map_or(most, |left| left.min(most));
                let mut buffer = self.buffers.take(want);
                match read_cached(&self.file, &mut buffer[..want], self.position) {
                    Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => {
                        let (file, position) = (Arc::clone(&self.file), self.position);
                        self.reading = Some(spawn_blocking(move || {
                            let read = pread(&*file, &mut buffer[..want], position);
                            (buffer, read.map_err(io::Error::from))
                        }));
                        return self.poll_chunk(context);
                    }
                    read => (buffer, read.map_err(io::Error::from)),
                }
            }
        };
        Poll::Ready(Some(self.advance(buffer, read)))
    }

    fn advance(&mut self, buffer: Vec<u8>, read: io::Result<usize>) -> Result<Bytes, ReadError> {
        let len = match read {
            Ok(0) => return Err(ReadError::Shrunk { missing: self.remaining }),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(ReadError::Io(error)),
        };
        self.position += len as u64;
        self.remaining -= len as u64;
        let lease = Lease { buffer, len, buffers: Arc::clone(&self.buffers) };
        Ok(Bytes::from_owner(lease))
    }
}

impl fmt::Debug for FileStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, remaining, .. } = self;
        f.debug_struct("FileStream")
            .field("position", position)
            .field("remaining", remaining)
            .finish_non_exhaustive()
    }
}

/// Why the content of a file broke off.
///
/// The length has been announced by then, so that the stream is reset: a client must never take the
/// beginning of a file for the whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file became shorter while it was being sent.
    #[error("the file shrank while it was being sent: {missing} bytes are missing")]
    Shrunk {
        /// How many bytes of those announced there are not any more.
        missing: u64,
    },
    /// The operating system could not read it.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
}

/// Buffers of one stream that come back when the protocol has sent what was in them.
///
/// Without it each chunk costs an allocation of 64 KiB and the zeros to fill it.
#[derive(Default)]
struct Buffers(Mutex<Pool>);

#[derive(Default)]
struct Pool {
    free: Vec<Vec<u8>>,
    /// Bytes in `free`.
    idle: usize,
    /// Bytes on their way to the client.
    leased: usize,
}

impl Buffers {
    /// How much to read at once: the more is on its way, the more. QUIC looks through the chunks of a stream for each
    /// packet, all those before the one that it is at.
    fn next_size(&self) -> usize {
        (self.pool().leased / CHUNKS_LEASED).next_power_of_two().clamp(CHUNK, LARGEST)
    }

    /// A buffer of at least `len` bytes, with anything in it.
    fn take(&self, len: usize) -> Vec<u8> {
        let mut pool = self.pool();
        let free = pool.free.pop();
        pool.idle -= free.as_ref().map_or(0, Vec::len);
        let buffer = free.filter(|buffer| buffer.len() >= len).unwrap_or_else(|| vec![0; len]);
        pool.leased += buffer.len();
        buffer
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut pool = self.pool();
        pool.leased -= buffer.len();
        if pool.idle + buffer.len() <= KEPT.max(pool.leased) {
            pool.idle += buffer.len();
            pool.free.push(buffer);
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A chunk on its way to the client.
struct Lease {
    buffer: Vec<u8>,
    len: usize,
    buffers: Arc<Buffers>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.buffer));
    }
}

/// Reads what is in memory; `AGAIN` when that is nothing.
fn read_cached(file: &OwnedFd, buffer: &mut [u8], position: u64) -> Result<usize, Errno> {
    preadv2(file, &mut [IoSliceMut::new(buffer)], position, ReadWriteFlags::NOWAIT)
}

/// What is read at once at first, and the most that one slow client makes us hold: 64 KiB, measured to copy
/// no slower from the page cache than larger pieces, since it stays in the core's own cache.
pub(super) const CHUNK: usize = 64 * 1024;

/// What is read at once for a client that has megabytes on their way.
const LARGEST: usize = 256 * 1024;

/// How many chunks on their way are enough: with more, they grow.
const CHUNKS_LEASED: usize = 16;

/// How many bytes of buffers a stream keeps for its next chunks, or as many as are on their way. With fewer, a new one is
/// filled with zeros for nearly each chunk of a bulk transfer, which was a twenty-fifth of its cost.
const KEPT: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    /// A file with `len` bytes, and its name in case it is to be changed.
    fn file(name: &str, len: usize) -> (std::path::PathBuf, Vec<u8>) {
        let path =
            std::env::temp_dir().join(format!("sterna-stream-{}-{name}", std::process::id()));
        let content: Vec<u8> = (0..len).map(|at| (at * 13 + 5) as u8).collect();
        File::create(&path).and_then(|mut file| file.write_all(&content)).expect("written");
        (path, content)
    }

    fn open(path: &std::path::Path) -> OwnedFd {
        File::open(path).expect("opened").into()
    }

    async fn next(stream: &mut FileStream) -> Option<Result<Bytes, ReadError>> {
        std::future::poll_fn(|context| stream.poll_chunk(context)).await
    }

    #[tokio::test]
    async fn the_chunks_are_the_part_asked_for() {
        let (path, content) = file("part", 3 * CHUNK + 1);
        let mut stream = FileStream::new(open(&path), 7, 2 * CHUNK as u64 + 9);
        let mut read = Vec::new();
        while let Some(chunk) = next(&mut stream).await {
            let chunk = chunk.expect("a chunk");
            assert!(chunk.len() <= CHUNK, "a chunk is bounded");
            read.extend_from_slice(&chunk);
        }
        assert_eq!(read, content[7..2 * CHUNK + 16]);
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test]
    async fn what_is_not_in_memory_comes_by_way_of_the_blocking_pool() {
        let (path, content) = file("cold", 2 * CHUNK);
        let mut stream = FileStream::new(open(&path), 0, 2 * CHUNK as u64);
        rustix::fs::fsync(&*stream.file).expect("written");
        let all = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&*stream.file, 0, None, all).expect("forgotten");
        // A file system in memory forgets nothing; the content must be right on either way.
        let mut read = Vec::new();
        while let Some(chunk) = next(&mut stream).await {
            read.extend_from_slice(&chunk.expect("a chunk"));
        }
        assert!(read == content, "{} bytes", read.len());
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test]
    async fn a_small_file_is_read_at_once() {
        let (path, content) = file("small", 1024);
        let whole = FileStream::new(open(&path), 0, 1024).whole().await.expect("read");
        assert_eq!(whole, content);
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_an_error_and_not_an_end() {
        let (path, _) = file("shrinks", 2 * CHUNK);
        let mut stream = FileStream::new(open(&path), 0, 2 * CHUNK as u64);
        let first = next(&mut stream).await.expect("not the end").expect("a chunk");
        assert_eq!(first.len(), CHUNK);
        File::options().write(true).open(&path).and_then(|file| file.set_len(100)).expect("cut");
        let second = next(&mut stream).await.expect("not the end");
        assert!(matches!(second, Err(ReadError::Shrunk { missing }) if missing == CHUNK as u64));
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test]
    async fn a_buffer_is_used_again_once_its_chunk_was_sent() {
        let (path, _) = file("again", 3 * CHUNK);
        let mut stream = FileStream::new(open(&path), 0, 3 * CHUNK as u64);
        let first = next(&mut stream).await.expect("not the end").expect("a chunk");
        let place = first.as_ptr();
        let second = next(&mut stream).await.expect("not the end").expect("a chunk");
        assert_ne!(second.as_ptr(), place, "a chunk in flight keeps its bytes");
        drop(first);
        let third = next(&mut stream).await.expect("not the end").expect("a chunk");
        assert_eq!(third.as_ptr(), place);
        std::fs::remove_file(path).expect("removed");
    }

    #[tokio::test]
    async fn chunks_grow_with_what_is_on_its_way_up_to_a_bound() {
        let (path, content) = file("grows", 64 * CHUNK + 32 * LARGEST);
        let mut stream = FileStream::new(open(&path), 0, content.len() as u64);
        let mut on_their_way = Vec::new();
        while let Some(chunk) = next(&mut stream).await {
            on_their_way.push(chunk.expect("a chunk"));
        }
        assert!(on_their_way.concat() == content, "the content is whole");
        let sizes: Vec<usize> = on_their_way.iter().map(Bytes::len).collect();
        assert_eq!(sizes[..CHUNKS_LEASED], [CHUNK; CHUNKS_LEASED], "a slow client holds little");
        assert_eq!(sizes.iter().max(), Some(&LARGEST));

        drop(on_their_way);
        stream.seek(0, content.len() as u64);
        let again = next(&mut stream).await.expect("not the end").expect("a chunk");
        assert_eq!(again.len(), CHUNK, "what has arrived counts no more");
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn no_more_buffers_are_kept_than_the_bound() {
        let buffers = Buffers::default();
        let many: Vec<_> = (0..=KEPT / CHUNK).map(|_| buffers.take(CHUNK)).collect();
        many.into_iter().for_each(|buffer| buffers.give(buffer));
        let pool = buffers.pool();
        assert_eq!((pool.idle, pool.free.len(), pool.leased), (KEPT, KEPT / CHUNK, 0));
    }
}

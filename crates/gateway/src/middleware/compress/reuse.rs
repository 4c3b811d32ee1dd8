//! Content in memory that is sent again and again is encoded once.
//!
//! A file that is kept in memory and a fixed answer are the same bytes at the same place for every request. What is kept
//! here holds on to them, so that the place cannot become that of others.

use std::cell::RefCell;

use bytes::Bytes;

use super::Level;
use super::coder::{brotli_level, gzip_level, zstd_level};
use crate::encoding::Coding;

/// What was encoded before, of one route and worker.
#[derive(Debug, Default)]
pub(super) struct Reuse {
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    /// Whose turn it is to be replaced.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    coding: Coding,
    original: Bytes,
    encoded: Bytes,
}

impl Reuse {
    /// The encoded form, if it is smaller.
    pub(super) fn encode(&self, coding: Coding, level: Level, content: &Bytes) -> Option<Bytes> {
        let mut kept = self.kept.borrow_mut();
        let is_it = |entry: &&Entry| {
            entry.coding == coding
                && entry.original.as_ptr() == content.as_ptr()
                && entry.original.len() == content.len()
        };
        let encoded = match kept.entries.iter().find(is_it) {
            Some(entry) => entry.encoded.clone(),
            None => {
                let encoded = Bytes::from(encode(coding, level, content)?);
                let entry = Entry { coding, original: content.clone(), encoded: encoded.clone() };
                kept.insert(entry);
                encoded
            }
        };
        (encoded.len() < content.len()).then_some(encoded)
    }
}

impl Kept {
    fn insert(&mut self, entry: Entry) {
        if self.entries.len() < MOST {
            self.entries.push(entry);
            return;
        }
        if let Some(old) = self.entries.get_mut(self.next) {
            *old = entry;
        }
        self.next = (self.next + 1) % MOST;
    }
}

/// All at once, with the length known beforehand.
fn encode(coding: Coding, level: Level, content: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    match coding {
        Coding::Zstd => zstd::bulk::compress(content, zstd_level(level)).ok(),
        Coding::Gzip => {
            let level = flate2::Compression::new(gzip_level(level));
            let to = Vec::with_capacity(content.len() / 2);
            let mut coder = flate2::write::GzEncoder::new(to, level);
            coder.write_all(content).ok()?;
            coder.finish().ok()
        }
        Coding::Brotli => {
            let bits = content.len().max(1).next_power_of_two().ilog2().clamp(10, 18);
            let to = Vec::with_capacity(content.len() / 2);
            let mut coder = brotli::CompressorWriter::new(to, 4096, brotli_level(level), bits);
            coder.write_all(content).ok()?;
            Some(coder.into_inner())
        }
    }
}

/// Of a route and worker: at most 4 MiB of originals, of 64 KiB each, and what was made of them.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_encoded_once_for_each_coding() {
        let reuse = Reuse::default();
        let content = Bytes::from(vec![b'a'; 5000]);
        let encode = |coding| reuse.encode(coding, Level::Default, &content).expect("smaller");
        let first = encode(Coding::Gzip);
        assert_eq!(encode(Coding::Gzip).as_ptr(), first.as_ptr(), "the same bytes again");
        assert_ne!(encode(Coding::Zstd), first);
        let other = Bytes::from(vec![b'b'; 5000]);
        let other = reuse.encode(Coding::Gzip, Level::Default, &other).expect("smaller");
        assert_ne!(other, first);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let reuse = Reuse::default();
        let contents = (0..MOST + 10).map(|i| Bytes::from(vec![b'a'; 2000 + i]));
        let contents: Vec<Bytes> = contents.collect();
        for content in &contents {
            reuse.encode(Coding::Gzip, Level::Fast, content).expect("smaller");
        }
        let kept = reuse.kept.borrow();
        assert_eq!((kept.entries.len(), kept.next), (MOST, 10));
        let is_kept = |content: &Bytes| kept.entries.iter().any(|entry| entry.original == *content);
        assert!(!is_kept(&contents[0]) && is_kept(&contents[MOST + 9]));
    }

    #[test]
    fn what_gets_no_smaller_is_left_as_it_is() {
        let noise: Vec<u8> = crate::random::bytes::<200>().to_vec();
        let content = Bytes::from(noise);
        for coding in [Coding::Gzip, Coding::Zstd, Coding::Brotli] {
            assert_eq!(Reuse::default().encode(coding, Level::Default, &content), None);
        }
    }
}

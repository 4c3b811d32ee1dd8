//! The coders, under one face: bytes in, bytes out, and a flush between.
//!
//! Each holds memory for as long as its response is sent: 0.3 MiB for gzip, 1.2 for zstd, 2.5 for br. So a worker has only
//! so many at work ([`MOST`]).

use std::cell::Cell;
use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Level;
use crate::encoding::Coding;

/// One response's coder.
pub(super) struct Coder {
    coding: Coding,
    level: Level,
    /// Made when the first byte comes.
    state: Option<State>,
    _place: Place,
}

enum State {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Coder {
    pub(super) fn new(coding: Coding, level: Level, place: Place) -> Self {
        Self { coding, level, state: None, _place: place }
    }

    /// Takes in bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.state()? {
            State::Gzip(coder) => coder.write_all(bytes),
            State::Zstd(coder) => coder.write_all(bytes),
            State::Brotli(coder) => coder.write_all(bytes),
        }
    }

    /// Brings out what was taken in, at the price of a few bytes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.state()? {
            State::Gzip(coder) => coder.flush(),
            State::Zstd(coder) => coder.flush(),
            State::Brotli(coder) => coder.flush(),
        }
    }

    /// How many bytes have come out and wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        match &self.state {
            None => 0,
            Some(State::Gzip(coder)) => coder.get_ref().len(),
            Some(State::Zstd(coder)) => coder.get_ref().len(),
            Some(State::Brotli(coder)) => coder.get_ref().len(),
        }
    }

    /// Takes what has come out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match &mut self.state {
            None => Vec::new(),
            Some(State::Gzip(coder)) => std::mem::take(coder.get_mut()),
            Some(State::Zstd(coder)) => std::mem::take(coder.get_mut()),
            Some(State::Brotli(coder)) => std::mem::take(coder.get_mut()),
        }
    }

    /// Ends the encoded form: the rest of it.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.state()?;
        match self.state {
            None => Ok(Vec::new()),
            Some(State::Gzip(coder)) => coder.finish(),
            Some(State::Zstd(coder)) => coder.finish(),
            Some(State::Brotli(coder)) => Ok(coder.into_inner()),
        }
    }

    fn state(&mut self) -> io::Result<&mut State> {
        match &mut self.state {
            Some(state) => Ok(state),
            empty => Ok(empty.insert(State::new(self.coding, self.level)?)),
        }
    }
}

impl State {
    fn new(coding: Coding, level: Level) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                let level = Compression::new(gzip_level(level));
                Self::Gzip(Box::new(GzEncoder::new(Vec::new(), level)))
            }
            Coding::Zstd => {
                let level = zstd_level(level);
                let mut coder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                coder.window_log(ZSTD_WINDOW_BITS)?;
                Self::Zstd(Box::new(coder))
            }
            Coding::Brotli => {
                let level = brotli_level(level);
                let coder = CompressorWriter::new(Vec::new(), 4096, level, BROTLI_WINDOW_BITS);
                Self::Brotli(Box::new(coder))
            }
        })
    }
}

pub(super) const fn gzip_level(level: Level) -> u32 {
    match level {
        Level::Fast => 1,
        Level::Default => 4,
        Level::Best => 9,
    }
}

pub(super) const fn zstd_level(level: Level) -> i32 {
    match level {
        Level::Fast => 1,
        Level::Default => 3,
        Level::Best => 12,
    }
}

pub(super) const fn brotli_level(level: Level) -> u32 {
    match level {
        Level::Fast => 1,
        Level::Default => 4,
        Level::Best => 9,
    }
}

/// 128 KiB: four times that of gzip, at a tenth of the memory that the coder would take by itself.
const ZSTD_WINDOW_BITS: u32 = 17;
/// 256 KiB.
const BROTLI_WINDOW_BITS: u32 = 18;

/// Leave to have a coder at work; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(());

impl Place {
    /// One of the places of this worker, if one is left.
    pub(super) fn take() -> Option<Self> {
        let taken = TAKEN.get();
        (taken < MOST).then(|| {
            TAKEN.set(taken + 1);
            Self(())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get().saturating_sub(1));
    }
}

/// How many coders of a worker are at work at the same time. Slow readers could pile up more, at a mebibyte each.
pub(super) const MOST: usize = 128;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

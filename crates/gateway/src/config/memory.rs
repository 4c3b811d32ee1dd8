//! How much memory clients may take, as people write it: `256MiB`, or `off`.

use std::fmt;
use std::str::FromStr;

use super::setting::word;
use super::units::ByteSize;

/// Bytes that the server may hold for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// As many as they take.
    Off,
    /// So many.
    UpTo(ByteSize),
}

/// Why a text is no limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMemory {
    /// It is no size.
    #[error("is not a size such as `256MiB`, and not `off`")]
    Form,
    /// A single client may need more.
    #[error("is too little for a single client: write `16MiB` or more, or `off`")]
    Little,
}

impl Memory {
    pub(super) fn of(bytes: Option<u64>) -> Self {
        bytes.map_or(Self::Off, |bytes| Self::UpTo(ByteSize(bytes)))
    }

    /// The endpoint's own form of it.
    pub(super) fn limit(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::UpTo(size) => Some(size.0),
        }
    }
}

impl FromStr for Memory {
    type Err = NotAMemory;

    fn from_str(text: &str) -> Result<Self, NotAMemory> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let size: ByteSize = text.parse().map_err(|_| NotAMemory::Form)?;
        if size < LEAST { Err(NotAMemory::Little) } else { Ok(Self::UpTo(size)) }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::UpTo(size) => size.fmt(f),
        }
    }
}

word!(Memory, "limit on memory", ["256MiB", "off"]);

/// A little more than the window of one connection.
const LEAST: ByteSize = ByteSize(16 << 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_memory_is_read_and_written_in_the_words_of_people() {
        for text in ["off", "16MiB", "1GiB"] {
            assert_eq!(text.parse::<Memory>().expect("a limit").to_string(), text);
        }
        for (text, reason) in
            [("", NotAMemory::Form), ("256", NotAMemory::Form), ("15MiB", NotAMemory::Little)]
        {
            assert_eq!(text.parse::<Memory>(), Err(reason), "{text}");
        }
    }
}

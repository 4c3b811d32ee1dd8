//! Reading a field section: what is common to heads and trailers.

use sterna_qpack::Field;

use super::fields::Fields;
use super::name::Name;
use crate::PeerMisbehaved;

/// Takes the lines of one section as QPACK decodes them, and remembers the first rule that was broken.
///
/// Lines after a broken rule are dropped: QPACK has to decode them, nobody needs them.
#[derive(Debug)]
pub(crate) struct SectionReader<K> {
    kind: K,
    fields: Fields,
    broken: Option<PeerMisbehaved>,
}

/// What a section is, which decides what a line may be.
pub(crate) trait Kind {
    /// The next line; regular fields go to `fields`.
    fn line(&mut self, name: Name, field: Field, fields: &mut Fields)
    -> Result<(), PeerMisbehaved>;
}

impl<K: Kind + Default> SectionReader<K> {
    /// Accepts up to `max_lines` lines; `usual` of them are expected to be fields.
    pub(crate) fn new(max_lines: usize, usual: usize) -> Self {
        Self { kind: K::default(), fields: Fields::new(max_lines, usual), broken: None }
    }

    /// The next line.
    pub(crate) fn push(&mut self, field: Field) {
        if self.broken.is_some() || !self.fields.count_line() {
            return;
        }
        let result =
            Name::of(&field).and_then(|name| self.kind.line(name, field, &mut self.fields));
        self.broken = result.err();
    }

    /// Whether there were more lines than we accept: the section is too large, not malformed.
    pub(crate) const fn is_too_many(&self) -> bool {
        self.fields.is_too_many()
    }

    /// What was gathered, or the first rule that was broken.
    pub(super) fn into_parts(self) -> Result<(K, Fields), PeerMisbehaved> {
        match self.broken {
            Some(rule) => Err(rule),
            None => Ok((self.kind, self.fields)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::fields::Trailers;
    use super::*;

    fn line(name: &'static [u8]) -> Field {
        Field {
            name: Bytes::from_static(name),
            value: Bytes::from_static(b"value"),
            static_name: None,
            never_indexed: false,
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_not_held() {
        let mut reader = SectionReader::<Trailers>::new(3, 16);
        for _ in 0..3 {
            reader.push(line(b"name"));
        }
        assert!(!reader.is_too_many());
        reader.push(line(b"name"));
        assert!(reader.is_too_many());
        assert_eq!(reader.finish().map(|trailers| trailers.len()), Ok(3));
    }

    #[test]
    fn the_first_broken_rule_is_the_one_that_is_told() {
        let mut reader = SectionReader::<Trailers>::new(10, 0);
        for name in [&b"name"[..], b"Name", b":path", b"na me"] {
            reader.push(line(name));
        }
        assert_eq!(reader.finish().map(|_| ()), Err(PeerMisbehaved::UppercaseName));
    }
}

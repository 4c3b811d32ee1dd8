//! The configurations that have been served, so that one can go back to an earlier one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use sterna_gateway::config::{Changes, Model};

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    /// Counts the configurations that have been served, from 1.
    pub(crate) generation: u64,
    pub(crate) since: SystemTime,
    /// What it changed of the one before.
    pub(crate) changes: Arc<Changes>,
    pub(crate) model: Arc<Model>,
}

/// The last of them, the one that is served included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revisions(VecDeque<Revision>);

impl Revisions {
    /// The one that is served from now on; the oldest goes when there are more than [`MOST`].
    pub(super) fn add(&mut self, revision: Revision) {
        self.0.push_back(revision);
        while self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// From the oldest on.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Revision> {
        self.0.iter()
    }

    pub(crate) fn get(&self, generation: u64) -> Option<&Revision> {
        self.0.iter().find(|revision| revision.generation == generation)
    }

    /// The one before the one that is served.
    pub(crate) fn previous(&self) -> Option<&Revision> {
        self.0.iter().nth_back(1)
    }
}

/// How many are kept.
pub(crate) const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use sterna_gateway::config::{Environment, Loaded};

    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let text = "[[site]]\nrespond = \"a\"";
        let loaded = Loaded::of_text("a.toml", text, &Environment::empty());
        let model = Arc::new(loaded.model().expect("valid"));
        let mut revisions = Revisions::default();
        assert!(revisions.previous().is_none());
        for generation in 1..=MOST as u64 + 1 {
            let (changes, since) = (Arc::default(), SystemTime::UNIX_EPOCH);
            revisions.add(Revision { generation, since, changes, model: model.clone() });
        }
        assert_eq!(revisions.iter().count(), MOST);
        assert!(revisions.get(1).is_none() && revisions.get(2).is_some());
        assert_eq!(revisions.previous().map(|it| it.generation), Some(MOST as u64));
    }
}

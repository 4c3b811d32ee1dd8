//! Small files that are asked for, in memory.
//!
//! Each request still looks at the file: one `stat` in place of open, stat, read and close, and the fields of
//! the response are ready. What is kept is served only while the file is the one that was read, to its
//! inode and the nanosecond of its last change, so that nobody gets what was there before.
//!
//! Two generations bound the memory: what is asked for is in the young one; when that is full, it becomes
//! the old one, and what nobody asked for since the last time is forgotten.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;

use super::document::{Document, Outcome};
use super::range::Part;
use super::root::Root;
use crate::body::Body;
use crate::{Request, Response};

/// The files that one worker keeps, by the path of the request.
#[derive(Debug, Default)]
pub(super) struct Cache {
    generations: RefCell<Generations>,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Kept {
    name: Vec<u8>,
    document: Document,
    content: Bytes,
}

impl Cache {
    /// What is kept for `path`, if the file is still the same.
    pub(super) fn find(&self, path: &str, root: &Root) -> Option<Rc<Kept>> {
        let kept = self.generations.borrow_mut().find(path)?;
        if root.identity(&kept.name).as_ref() == Some(kept.document.identity()) {
            return Some(kept);
        }
        self.generations.borrow_mut().remove(path);
        None
    }

    /// Keeps a file that was just read, if a later change is sure to show.
    pub(super) fn keep(&self, path: &str, kept: Kept) -> Rc<Kept> {
        let kept = Rc::new(kept);
        if kept.document.identity().is_settled(SystemTime::now()) {
            self.generations.borrow_mut().insert(path.into(), Rc::clone(&kept));
        }
        kept
    }
}

impl Kept {
    /// A file and all of its content.
    pub(super) fn new(name: Vec<u8>, document: Document, content: Bytes) -> Self {
        Self { name, document, content }
    }

    /// What a request gets of it.
    pub(super) fn answer(&self, request: &Request) -> Response {
        match self.document.evaluate(request) {
            Outcome::Answer(response) => response,
            Outcome::Send(part) => self.send(part),
        }
    }

    /// All of it, or a part.
    pub(super) fn send(&self, part: Option<Part>) -> Response {
        let content = match part.and_then(Part::range) {
            Some(range) => self.content.slice(range),
            None => self.content.clone(),
        };
        self.document.respond(part, Body::full(content))
    }

    /// What it holds, in bytes, with what is around it.
    fn weight(&self, path: &str) -> usize {
        self.content.len() + self.name.len() + path.len() + OVERHEAD
    }
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Rc<Kept>>,
    young_weight: usize,
    old: HashMap<Box<str>, Rc<Kept>>,
}

impl Generations {
    fn find(&mut self, path: &str) -> Option<Rc<Kept>> {
        if let Some(kept) = self.young.get(path) {
            return Some(Rc::clone(kept));
        }
        let (path, kept) = self.old.remove_entry(path)?;
        self.insert(path, Rc::clone(&kept));
        Some(kept)
    }

    fn insert(&mut self, path: Box<str>, kept: Rc<Kept>) {
        self.remove(&path);
        let weight = kept.weight(&path);
        if self.young_weight + weight > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        self.young.insert(path, kept);
    }

    fn remove(&mut self, path: &str) {
        if let Some(kept) = self.young.remove(path) {
            self.young_weight -= kept.weight(path);
        }
        self.old.remove(path);
    }
}

/// How much one generation may hold, in bytes: 4 MiB, so that a worker keeps 8 MiB at most.
const GENERATION: usize = 4 << 20;

/// What a kept file costs beside its bytes: maps, fields, counters. An estimate from above.
const OVERHEAD: usize = 1024;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use rustix::fs::stat;

    use super::*;
    use crate::handler::files::document::Identity;
    use crate::handler::files::stream::CHUNK;
    use crate::handler::files::tests::Site;

    fn kept(path: &PathBuf, content: &str) -> Kept {
        let document = Document::new(&stat(path).expect("there"), b"a.txt");
        Kept::new(b"a.txt".to_vec(), document, content.to_owned().into())
    }

    /// A cache that keeps `site/a.txt` under `/a`, whatever the age of the file.
    fn keeping(site: &Site) -> (Cache, Root) {
        let cache = Cache::default();
        let path = site.outer.join("site/a.txt");
        // Long ago, so that a change shows however slowly the clock of the file system ticks.
        let file = fs::File::options().write(true).open(&path).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).expect("set");
        let kept = kept(&path, "0123456789");
        cache.generations.borrow_mut().insert("/a".into(), Rc::new(kept));
        (cache, Root::open(&site.outer.join("site")).expect("opened"))
    }

    #[test]
    fn a_file_is_found_until_it_changes_in_any_way() {
        type Change = fn(PathBuf);
        let changes: [Change; 5] = [
            |path| fs::write(path, "9876543210").expect("written"),
            |path| fs::write(path, "longer than before").expect("written"),
            |path| fs::remove_file(path).expect("removed"),
            |path| {
                fs::copy(&path, path.with_extension("new")).expect("copied");
                fs::rename(path.with_extension("new"), path).expect("renamed");
            },
            |path| {
                let file = fs::File::options().write(true).open(path).expect("opened");
                file.set_modified(SystemTime::UNIX_EPOCH).expect("set");
            },
        ];
        for change in changes {
            let site = Site::new();
            let (cache, root) = keeping(&site);
            assert_eq!(cache.find("/a", &root).expect("kept").content, "0123456789");
            assert!(cache.find("/b", &root).is_none());
            change(site.outer.join("site/a.txt"));
            assert!(cache.find("/a", &root).is_none());
            assert_eq!(cache.generations.borrow().young_weight, 0, "it is forgotten");
        }
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_not_kept() {
        let site = Site::new();
        let cache = Cache::default();
        cache.keep("/a", kept(&site.outer.join("site/a.txt"), "0123456789"));
        let root = Root::open(&site.outer.join("site")).expect("opened");
        assert!(cache.find("/a", &root).is_none());
        let identity = Identity::of(&stat(site.outer.join("site/a.txt")).expect("there"));
        let later = SystemTime::now() + Duration::from_secs(4);
        assert!(!identity.is_settled(SystemTime::now()) && identity.is_settled(later));
    }

    #[test]
    fn any_number_of_files_takes_no_more_than_two_generations() {
        let site = Site::new();
        let path = site.outer.join("site/a.txt");
        let content = "x".repeat(CHUNK);
        let mut generations = Generations::default();
        for number in 0..300 {
            generations.insert(format!("/{number}").into(), Rc::new(kept(&path, &content)));
            generations.find("/0").expect("what is asked for stays");
            let held = |map: &HashMap<Box<str>, Rc<Kept>>| -> usize {
                map.iter().map(|(path, kept)| kept.weight(path)).sum()
            };
            assert_eq!(generations.young_weight, held(&generations.young));
            assert!(generations.young_weight <= GENERATION && held(&generations.old) <= GENERATION);
        }
        assert!(generations.find("/1").is_none(), "what nobody asks for goes");
    }

    #[test]
    fn a_file_kept_twice_is_weighed_once() {
        let site = Site::new();
        let path = site.outer.join("site/a.txt");
        let mut generations = Generations::default();
        for content in ["0123456789", "01234"] {
            generations.insert("/a".into(), Rc::new(kept(&path, content)));
        }
        assert_eq!(generations.young_weight, kept(&path, "01234").weight("/a"));
    }
}

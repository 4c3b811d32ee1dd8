//! Small files that are asked for, in memory.
//!
//! What is kept is served while the file is the one that was read, to its inode and the nanosecond of its
//! last change: one `stat` in place of open, stat, read and close, and the fields of the response are ready.
//! A file that is asked for all the time is looked at once in [`TRUSTED`], so that a change shows after no more
//! than that. What would be found in its place by now (a better index, an encoded form) is looked for once a
//! second.
//!
//! Two generations bound the memory: what is asked for is in the young one; when that is full, it becomes
//! the old one, and what nobody asked for since the last time is forgotten.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::document::{Document, Identity, Outcome};
use super::range::Part;
use super::root::Root;
use crate::body::Body;
use crate::encoding::Accepts;
use crate::{Request, Response};

/// The files that one worker keeps, by the path of the request and the codings that it accepts.
#[derive(Debug, Default)]
pub(super) struct Cache {
    generations: RefCell<Generations>,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Kept {
    name: Vec<u8>,
    document: Document,
    /// Of an encoded file: that which it was made of, with its name.
    original: Option<(Vec<u8>, Identity)>,
    content: Bytes,
    /// When it was found to be what its path stands for.
    found: Instant,
    /// When the file was last seen to be the one that was read.
    seen: Cell<Instant>,
}

impl Cache {
    /// What is kept for `path`, if it is still the same.
    pub(super) fn find(
        &self,
        accepts: Accepts,
        path: &str,
        root: &Root,
        now: Instant,
    ) -> Option<Rc<Kept>> {
        let mut generations = self.generations.borrow_mut();
        let kept = generations.find(accepts, path)?;
        if kept.is_current(root, now) {
            return Some(kept);
        }
        generations.remove_last_sought();
        None
    }

    /// Keeps a file that was just read, if a later change is sure to show.
    pub(super) fn keep(&self, accepts: Accepts, path: &str, kept: Kept) -> Rc<Kept> {
        let kept = Rc::new(kept);
        if kept.document.identity().is_settled(SystemTime::now()) {
            let key = key(accepts, path).into_boxed_str();
            self.generations.borrow_mut().insert(key, Rc::clone(&kept));
        }
        kept
    }
}

impl Kept {
    /// A file and all of its content.
    pub(super) fn new(
        name: Vec<u8>,
        document: Document,
        original: Option<(Vec<u8>, Identity)>,
        content: Bytes,
    ) -> Self {
        let found = Instant::now();
        Self { name, document, original, content, found, seen: Cell::new(found) }
    }

    /// Whether it is what a look at the file system would give, as far as one needs to know.
    fn is_current(&self, root: &Root, now: Instant) -> bool {
        let is_within = |span, since| now.saturating_duration_since(since) < span;
        if is_within(TRUSTED, self.seen.get()) {
            return is_within(RECENT, self.found);
        }
        let is = |name: &[u8], identity: &Identity| root.identity(name).as_ref() == Some(identity);
        let is_same = is_within(RECENT, self.found)
            && is(&self.name, self.document.identity())
            && self.original.as_ref().is_none_or(|(name, identity)| is(name, identity));
        if is_same {
            self.seen.set(now);
        }
        is_same
    }

    /// What a request gets of it.
    pub(super) fn answer(&self, request: &Request) -> Response {
        self.send(self.document.evaluate(request))
    }

    /// What the evaluation of a request came to.
    pub(super) fn send(&self, wanted: Outcome) -> Response {
        match wanted {
            Outcome::Answer(response) => response,
            Outcome::Send(part) => {
                let content = match part.and_then(Part::range) {
                    Some(range) => self.content.slice(range),
                    None => self.content.clone(),
                };
                self.document.respond(part, Body::full(content))
            }
            Outcome::SendParts(parts) => {
                let body = Body::full(parts.assemble(&self.content));
                self.document.respond_parts(parts.content_type(), parts.len(), body)
            }
        }
    }

    /// What it holds, in bytes, with what is around it.
    fn weight(&self, key: &str) -> usize {
        let original = self.original.as_ref().map_or(0, |(name, _)| name.len());
        self.content.len() + self.name.len() + original + key.len() + OVERHEAD
    }
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Rc<Kept>>,
    young_weight: usize,
    old: HashMap<Box<str>, Rc<Kept>>,
    /// The key that was sought last; here so that a search allocates nothing.
    sought: String,
}

impl Generations {
    fn find(&mut self, accepts: Accepts, path: &str) -> Option<Rc<Kept>> {
        self.sought.clear();
        self.sought.push(accepts.key());
        self.sought.push_str(path);
        if let Some(kept) = self.young.get(&*self.sought) {
            return Some(Rc::clone(kept));
        }
        let (key, kept) = self.old.remove_entry(&*self.sought)?;
        self.insert(key, Rc::clone(&kept));
        Some(kept)
    }

    fn insert(&mut self, key: Box<str>, kept: Rc<Kept>) {
        self.remove(&key);
        let weight = kept.weight(&key);
        if self.young_weight + weight > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        self.young.insert(key, kept);
    }

    fn remove_last_sought(&mut self) {
        let sought = std::mem::take(&mut self.sought);
        self.remove(&sought);
        self.sought = sought;
    }

    fn remove(&mut self, key: &str) {
        if let Some(kept) = self.young.remove(key) {
            self.young_weight -= kept.weight(key);
        }
        self.old.remove(key);
    }
}

/// A path and the codings accepted for it, as one text.
fn key(accepts: Accepts, path: &str) -> String {
    format!("{}{path}", accepts.key())
}

/// How long a path is taken to stand for the same file: what appears beside it shows after this.
const RECENT: Duration = Duration::from_secs(1);

/// How long a file is taken to be as it was last seen: below what a person notices, and far above the time
/// between two requests for a file whose `stat` would be worth saving.
const TRUSTED: Duration = Duration::from_millis(50);

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
    use crate::handler::files::plain;
    use crate::handler::files::stream::CHUNK;
    use crate::handler::files::tests::Site;

    fn kept(path: &PathBuf, content: &str) -> Kept {
        let document = Document::new(&stat(path).expect("there"), plain(b"a.txt"));
        Kept::new(b"a.txt".to_vec(), document, None, content.to_owned().into())
    }

    /// A cache that keeps `site/a.txt` under `/a`, whatever the age of the file.
    fn keeping(site: &Site) -> (Cache, Root) {
        let cache = Cache::default();
        let path = site.outer.join("site/a.txt");
        // Long ago, so that a change shows however slowly the clock of the file system ticks.
        let file = fs::File::options().write(true).open(&path).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).expect("set");
        let kept = kept(&path, "0123456789");
        let key = key(Accepts::default(), "/a").into();
        cache.generations.borrow_mut().insert(key, Rc::new(kept));
        (cache, Root::open(&site.outer.join("site")).expect("opened"))
    }

    /// When trust in what was seen at the beginning of a test is over.
    fn find(cache: &Cache, path: &str, root: &Root) -> Option<Rc<Kept>> {
        cache.find(Accepts::default(), path, root, Instant::now() + TRUSTED)
    }

    /// When what that saw is not trusted any more either.
    fn find_later(cache: &Cache, path: &str, root: &Root) -> Option<Rc<Kept>> {
        cache.find(Accepts::default(), path, root, Instant::now() + 5 * TRUSTED)
    }

    #[test]
    fn a_change_shows_after_the_time_of_trust_and_looking_renews_it() {
        let site = Site::new();
        let (cache, root) = keeping(&site);
        let at = |now| cache.find(Accepts::default(), "/a", &root, now).is_some();
        let first = find(&cache, "/a", &root).expect("kept").seen.get();
        assert!(at(first + TRUSTED), "looked at again");
        fs::write(site.outer.join("site/a.txt"), "9876543210").expect("written");
        let last = first + 2 * TRUSTED;
        assert!(at(last - Duration::from_nanos(1)), "trusted");
        assert!(!at(last));
        assert!(!at(first), "it is forgotten");
    }

    #[test]
    fn a_path_is_looked_up_again_after_a_second() {
        let site = Site::new();
        let (cache, root) = keeping(&site);
        let found = find(&cache, "/a", &root).expect("kept").found;
        let at = |now| cache.find(Accepts::default(), "/a", &root, now);
        assert!(at(found + RECENT - Duration::from_nanos(1)).is_some());
        assert!(at(found + RECENT).is_none());
        assert!(at(found).is_none(), "it is forgotten");
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
            assert_eq!(find(&cache, "/a", &root).expect("kept").content, "0123456789");
            assert!(find(&cache, "/b", &root).is_none());
            change(site.outer.join("site/a.txt"));
            assert!(find_later(&cache, "/a", &root).is_none());
            assert_eq!(cache.generations.borrow().young_weight, 0, "it is forgotten");
        }
    }

    #[test]
    fn an_encoded_file_is_found_until_its_original_changes() {
        let site = Site::new();
        let (cache, root) = keeping(&site);
        let original = site.outer.join("site/docs/index.html");
        let identity = Identity::of(&stat(&original).expect("there"));
        let encoded = Kept {
            original: Some((b"docs/index.html".to_vec(), identity)),
            ..kept(&site.outer.join("site/a.txt"), "0123456789")
        };
        cache.generations.borrow_mut().insert("0/b".into(), Rc::new(encoded));
        assert!(find(&cache, "/b", &root).is_some());
        fs::write(original, "changed").expect("written");
        assert!(find_later(&cache, "/b", &root).is_none());
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_not_kept() {
        let site = Site::new();
        let cache = Cache::default();
        cache.keep(Accepts::default(), "/a", kept(&site.outer.join("site/a.txt"), "0123456789"));
        let root = Root::open(&site.outer.join("site")).expect("opened");
        assert!(find(&cache, "/a", &root).is_none());
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
            let key = key(Accepts::default(), &format!("/{number}")).into();
            generations.insert(key, Rc::new(kept(&path, &content)));
            generations.find(Accepts::default(), "/0").expect("what is asked for stays");
            let held = |map: &HashMap<Box<str>, Rc<Kept>>| -> usize {
                map.iter().map(|(path, kept)| kept.weight(path)).sum()
            };
            assert_eq!(generations.young_weight, held(&generations.young));
            assert!(generations.young_weight <= GENERATION && held(&generations.old) <= GENERATION);
        }
        assert!(generations.find(Accepts::default(), "/1").is_none(), "what nobody asks for goes");
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

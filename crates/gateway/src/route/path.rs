//! Which paths a route serves, and the tree that finds it.
//!
//! Paths are compared segment by segment, decoded: `/%61` takes the route of `/a`, or whoever guards a path would guard one
//! of its spellings. From the left, at the first segment where two patterns
//! differ, a literal one beats a parameter, and a parameter beats the star at the end. So an exact path wins over
//! everything, a longer prefix over a shorter one, and `/users/{id}` over `/users/*`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use rustc_hash::FxHashMap;

/// Which paths: `/about`, `/assets/*` or `/users/{id}/posts`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Ends in a star: everything below the segments.
    is_prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    /// Any one segment that is not empty; the name is for people.
    Parameter(String),
}

impl Pattern {
    /// Every path: `/*`.
    pub fn any() -> Self {
        Self { segments: Vec::new(), is_prefix: true }
    }

    /// This path and no other, whatever is in it.
    pub fn exact(path: &str) -> Self {
        let segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let segments = segments.map(|segment| Segment::Literal(segment.to_owned())).collect();
        Self { segments, is_prefix: false }
    }

    /// A path that it matches.
    pub(crate) fn sample(&self) -> String {
        self.to_string().replace(['{', '}', '*'], "x")
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The segment of `path`, as it was sent, that is in the place of the parameter `name`.
    pub(crate) fn segment<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let is_it = |segment: &Segment| matches!(segment, Segment::Parameter(it) if it == name);
        let at = self.segments.iter().position(is_it)?;
        path.strip_prefix('/')?.split('/').nth(at)
    }

    /// Whether both match the same paths.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&Segment, &Segment)| match (a, b) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Parameter(_), Segment::Parameter(_)) => true,
            _ => false,
        };
        self.is_prefix == other.is_prefix
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(same)
    }
}

impl FromStr for Pattern {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let path = text.strip_prefix('/').ok_or(NotAPath::NoSlash)?;
        if let Some(bad) = path.chars().find(|c| c.is_whitespace() || "?#".contains(*c)) {
            return Err(NotAPath::Character(bad));
        }
        if path.contains('%') {
            return Err(NotAPath::Encoded);
        }
        let mut segments: Vec<&str> = path.split('/').collect();
        let is_prefix = segments.pop_if(|last| *last == "*").is_some();
        let segments = segments.into_iter().map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self { segments, is_prefix })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, NotAPath> {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match name {
            _ if text.contains('*') => Err(NotAPath::Star),
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                Ok(Self::Parameter(name.to_owned()))
            }
            None if !text.contains(['{', '}']) => Ok(Self::Literal(text.to_owned())),
            _ => Err(NotAPath::Parameter),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        f.write_str(if self.is_prefix { "/*" } else { "" })
    }
}

/// Why a text is no pattern of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPath {
    /// It begins with something else.
    #[error("is not a path: it begins with `/`")]
    NoSlash,
    /// A path cannot have this.
    #[error("is not a path: `{0}` has no place in one; conditions on the query are `query`")]
    Character(char),
    /// Paths are decoded before they are compared.
    #[error("is not a path: write the characters themselves, for paths are compared decoded")]
    Encoded,
    /// A star that is not the whole last segment.
    #[error("has a star where none can be: it stands alone at the end, as in `/assets/*`")]
    Star,
    /// A brace that makes no parameter.
    #[error("has a parameter that is not one: it is a whole segment, as in `/users/{{id}}`")]
    Parameter,
}

/// A path of a request as patterns are written: each segment decoded, once. An encoded slash separates nothing, and
/// stays.
pub(crate) fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let decode = |segment| percent_decode_str(segment).decode_utf8_lossy().replace('/', "%2F");
    Cow::Owned(path.split('/').map(decode).collect::<Vec<_>>().join("/"))
}

/// Every pattern of a host, with what belongs to it.
///
/// A lookup costs one hash for each segment of the path, however many patterns there are. A parameter beside a literal
/// may make it go back once for each node, and never more.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    literals: FxHashMap<String, usize>,
    parameter: Option<usize>,
    /// Of the path that ends here.
    here: Vec<T>,
    /// Of every path that goes on.
    below: Vec<T>,
}

impl<T> Tree<T> {
    /// The place of what belongs to `pattern`.
    pub(crate) fn entry(&mut self, pattern: &Pattern) -> &mut Vec<T> {
        let mut at = 0;
        for segment in &pattern.segments {
            let next = self.nodes.len();
            at = match segment {
                Segment::Literal(text) => {
                    *self.nodes[at].literals.entry(text.clone()).or_insert(next)
                }
                Segment::Parameter(_) => *self.nodes[at].parameter.get_or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        if pattern.is_prefix { &mut node.below } else { &mut node.here }
    }

    /// The first that `accept` takes, by falling specificity of the patterns which match `path`.
    pub(crate) fn find(&self, path: &str, accept: impl Fn(&T) -> bool) -> Option<&T> {
        match path.strip_prefix('/') {
            Some(rest) => self.descend(&self.nodes[0], Some(rest), &accept),
            // What is no path, such as the `*` of OPTIONS, is taken by `/*` alone.
            None => self.nodes[0].below.iter().find(|item| accept(item)),
        }
    }

    fn descend<'a>(
        &'a self,
        node: &'a Node<T>,
        rest: Option<&str>,
        accept: &impl Fn(&T) -> bool,
    ) -> Option<&'a T> {
        let Some(rest) = rest else { return node.here.iter().find(|item| accept(item)) };
        let (segment, further) = match rest.split_once('/') {
            Some((segment, further)) => (segment, Some(further)),
            None => (rest, None),
        };
        let literal = node.literals.get(segment);
        let parameter = node.parameter.as_ref().filter(|_| !segment.is_empty());
        literal
            .into_iter()
            .chain(parameter)
            .find_map(|&next| self.descend(&self.nodes[next], further, accept))
            .or_else(|| node.below.iter().find(|item| accept(item)))
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        let (literals, parameter) = Default::default();
        Self { literals, parameter, here: Vec::new(), below: Vec::new() }
    }
}

#[cfg(test)]
mod tests;

//! The order of patterns, and that their number costs nothing.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

fn tree(patterns: &[&str]) -> Tree<String> {
    let mut tree = Tree::default();
    for text in patterns {
        tree.entry(&pattern(text)).push((*text).to_owned());
    }
    tree
}

fn found<'a>(tree: &'a Tree<String>, path: &str) -> Option<&'a str> {
    tree.find(path, |_| true).map(String::as_str)
}

#[test]
fn the_most_specific_pattern_is_found() {
    let patterns = [
        "/*",
        "/",
        "/users/*",
        "/users/{id}",
        "/users/me",
        "/users/{id}/posts",
        "/users/me/mail/*",
        "/{tenant}/posts",
    ];
    let tree = tree(&patterns);
    for (path, expected) in [
        ("/", "/"),
        ("/users", "/*"),
        ("/users/", "/users/*"),
        ("/users/7", "/users/{id}"),
        ("/users/me", "/users/me"),
        ("/users/me/", "/users/*"),
        ("/users/me/posts", "/users/{id}/posts"),
        ("/users/me/mail/7/8", "/users/me/mail/*"),
        ("/users/posts", "/users/{id}"),
        ("/acme/posts", "/{tenant}/posts"),
        ("//posts", "/*"),
        ("*", "/*"),
        ("", "/*"),
    ] {
        assert_eq!(found(&tree, path), Some(expected), "{path}");
    }
}

#[test]
fn a_pattern_whose_conditions_fail_leaves_the_request_to_the_next_less_specific() {
    let tree = tree(&["/a/b", "/a/{x}", "/a/*", "/*"]);
    for (refused, expected) in [
        (&["/a/b"][..], Some("/a/{x}")),
        (&["/a/b", "/a/{x}"], Some("/a/*")),
        (&["/a/b", "/a/{x}", "/a/*"], Some("/*")),
        (&["/a/b", "/a/{x}", "/a/*", "/*"], None),
    ] {
        let found = tree.find("/a/b", |pattern| !refused.contains(&pattern.as_str()));
        assert_eq!(found.map(String::as_str), expected);
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_its_reason() {
    for (text, reason) in [
        ("a", NotAPath::NoSlash),
        ("", NotAPath::NoSlash),
        ("/a?b", NotAPath::Character('?')),
        ("/a b", NotAPath::Character(' ')),
        ("/a*", NotAPath::Star),
        ("/*/a", NotAPath::Star),
        ("/{}", NotAPath::Parameter),
        ("/a{b}", NotAPath::Parameter),
        ("/{a", NotAPath::Parameter),
        ("/%61", NotAPath::Encoded),
    ] {
        assert_eq!(text.parse::<Pattern>(), Err(reason), "{text}");
    }
}

#[test]
fn a_path_is_compared_decoded_once_and_an_encoded_slash_separates_nothing() {
    for (path, compared) in [
        ("/a/b", "/a/b"),
        ("/%61dmin/%C3%A4", "/admin/ä"),
        ("/%61dmin/%ff", "/admin/\u{fffd}"),
        ("/a%2Fb%2f", "/a%2Fb%2F"),
        ("/%2561", "/%61"),
        ("/a%", "/a%"),
    ] {
        assert_eq!(decoded(path), compared, "{path}");
    }
}

#[test]
fn patterns_which_differ_in_the_names_of_parameters_alone_are_the_same() {
    assert!(pattern("/a/{x}").is_same_as(&pattern("/a/{y}")));
    assert!(!pattern("/a/{x}").is_same_as(&pattern("/a/x")));
    assert!(!pattern("/a/{x}").is_same_as(&pattern("/a/{x}/*")));
    assert!(Pattern::exact("/a/b").is_same_as(&pattern("/a/b")));
    assert!(Pattern::any().is_same_as(&pattern("/*")));
}

/// The time of one lookup among `count` patterns of three kinds, the best of some rounds.
fn lookup(count: usize) -> Duration {
    let mut tree = Tree::default();
    for n in 0..count {
        let text = match n % 3 {
            0 => format!("/service-{n}/v1/items"),
            1 => format!("/service-{n}/*"),
            _ => format!("/service-{n}/users/{{id}}/posts"),
        };
        tree.entry(&pattern(&text)).push(n);
    }
    let last = count - 1;
    let paths: Vec<String> = (0..1000)
        .map(|n| format!("/service-{}/users/42/posts", n * last / 999))
        .chain((0..24).map(|n| format!("/nowhere-{n}/a/b/c")))
        .collect();
    let round = || {
        let begun = Instant::now();
        let hits = paths.iter().filter(|path| tree.find(path, |_| true).is_some()).count();
        (begun.elapsed() / paths.len() as u32, std::hint::black_box(hits)).0
    };
    (0..50).map(|_| round()).min().unwrap_or_default()
}

#[test]
fn ten_thousand_routes_cost_hardly_more_than_ten() {
    let (ten, many) = (lookup(10), lookup(10_000));
    println!("one lookup: {ten:?} among 10 routes, {many:?} among 10,000");
    // A scan would cost a thousand times as much; what a colder cache costs is far below the bound.
    assert!(many < ten * 20 + Duration::from_micros(1), "{ten:?} among 10, {many:?} among 10,000");
}

/// The rule of the module's documentation, said directly.
fn more_specific(a: &Pattern, b: &Pattern) -> Ordering {
    let kinds = |pattern: &Pattern| {
        let kind = |segment: &Segment| match segment {
            Segment::Literal(_) => 3,
            Segment::Parameter(_) => 2,
        };
        let star = pattern.is_prefix.then_some(1);
        pattern.segments.iter().map(kind).chain(star).collect::<Vec<u8>>()
    };
    kinds(a).cmp(&kinds(b))
}

fn matches(pattern: &Pattern, path: &str) -> bool {
    let segments: Vec<&str> = path.strip_prefix('/').expect("a path").split('/').collect();
    let enough = match pattern.is_prefix {
        true => segments.len() > pattern.segments.len(),
        false => segments.len() == pattern.segments.len(),
    };
    let same = |(want, is): (&Segment, &&str)| match want {
        Segment::Literal(text) => text == is,
        Segment::Parameter(_) => !is.is_empty(),
    };
    enough && pattern.segments.iter().zip(&segments).all(same)
}

proptest! {
    #[test]
    fn the_tree_finds_what_a_scan_of_all_patterns_finds(
        patterns in prop::collection::vec("(/(a|b|\\{x\\})){1,3}(/\\*)?", 1..12),
        path in "(/(a|b|c|)){1,4}",
    ) {
        let parsed: Vec<Pattern> = patterns.iter().map(|text| pattern(text)).collect();
        let mut tree = Tree::default();
        for pattern in &parsed {
            tree.entry(pattern).push(pattern.clone());
        }
        let scanned = parsed.iter().filter(|pattern| matches(pattern, &path)).max_by(|a, b| more_specific(a, b));
        let found = tree.find(&path, |_| true);
        match (scanned, found) {
            (Some(scanned), Some(found)) => prop_assert!(scanned.is_same_as(found), "{scanned} {found}"),
            (scanned, found) => prop_assert_eq!(scanned, found),
        }
    }

    #[test]
    fn what_was_read_is_written_back(text in "(/[a-z{}*?]{0,4}){1,3}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }
}

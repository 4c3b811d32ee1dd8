//! Files that lie ready in another coding.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};

use super::*;

/// A script of the second 1000, with all its encoded forms of the second 1000.
fn site() -> Site {
    let site = Site::new();
    for (name, content) in [
        ("app.js", "original"),
        ("app.js.br", "brotli"),
        ("app.js.zst", "z"),
        ("app.js.gz", "gzip!"),
    ] {
        site.write(name, content, 1000);
    }
    site
}

fn read(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.field(CONTENT_ENCODING), answer.text())
}

#[tokio::test]
async fn the_form_that_the_client_likes_best_is_sent_under_the_type_of_the_original() {
    let site = site();
    for (accepted, coding, content) in [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("zstd, gzip", "zstd", "z"),
        ("gzip, br;q=0.5", "gzip", "gzip!"),
        ("br;q=0", "", "original"),
        ("deflate", "", "original"),
    ] {
        let answer = site.fetch("/app.js", &[(ACCEPT_ENCODING, accepted)]).await;
        assert_eq!(read(&answer), (200, coding, content), "{accepted}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(answer.field(CONTENT_LENGTH), content.len().to_string());
        // req: 9110-12.5.5-vary
        assert_eq!(answer.field(VARY), "accept-encoding", "{accepted}");
    }
    let answer = site.fetch("/app.js", &[]).await;
    assert_eq!((read(&answer), answer.field(VARY)), ((200, "", "original"), "accept-encoding"));
    assert_eq!(site.fetch("/big.bin", &[]).await.headers.get(VARY), None, "it has one form");
}

#[tokio::test]
async fn each_form_has_its_own_tag_and_ranges_are_of_that_form() {
    let site = site();
    let mut tags = std::collections::HashSet::new();
    for (accepted, part) in [("", "rig"), ("br", "rot"), ("gzip", "zip")] {
        let whole = site.fetch("/app.js", &[(ACCEPT_ENCODING, accepted)]).await;
        let etag = whole.field(ETAG).to_owned();
        let fields = [(ACCEPT_ENCODING, accepted), (RANGE, "bytes=1-3"), (IF_RANGE, &etag)];
        let answer = site.fetch("/app.js", &fields).await;
        assert_eq!((answer.status, answer.text()), (206, part), "{accepted}");
        let fields = [(ACCEPT_ENCODING, accepted), (IF_NONE_MATCH, &etag)];
        let answer = site.fetch("/app.js", &fields).await;
        assert_eq!((answer.status, answer.field(VARY)), (304, "accept-encoding"));
        let fields = [(ACCEPT_ENCODING, "zstd"), (IF_NONE_MATCH, &etag)];
        assert_eq!(site.fetch("/app.js", &fields).await.status, 200, "of another form");
        tags.insert(etag);
    }
    assert_eq!(tags.len(), 3);
    let fields = [(ACCEPT_ENCODING, "br"), (RANGE, "bytes=0-0,2-2")];
    assert_eq!(read(&site.fetch("/app.js", &fields).await), (200, "br", "brotli"));
}

#[tokio::test]
async fn a_form_that_is_older_than_the_original_is_not_sent() {
    let site = site();
    site.write("app.js.br", "stale", 999);
    let fields = [(ACCEPT_ENCODING, "br, gzip")];
    assert_eq!(read(&site.fetch("/app.js", &fields).await), (200, "gzip", "gzip!"));
    site.write("app.js", "newer", 1001);
    assert_eq!(read(&site.fetch("/app.js", &fields).await), (200, "", "newer"));
}

#[tokio::test]
async fn an_original_that_changes_takes_its_kept_forms_away_at_once() {
    let site = site();
    let files = site.files();
    let fields = [(ACCEPT_ENCODING, "br")];
    let get = async || answer(&files, Method::GET, "/app.js", &fields).await;
    assert_eq!(read(&get().await), (200, "br", "brotli"));
    assert_eq!(read(&get().await), (200, "br", "brotli"), "kept or not");
    site.write("app.js", "newer", 1001);
    assert_eq!(read(&get().await), (200, "", "newer"));
    fs::remove_file(site.outer.join("site/app.js")).expect("removed");
    assert_eq!(get().await.status, 404, "a form without its original is none");
}

#[tokio::test]
async fn a_form_that_leads_outside_or_is_no_file_is_passed_over() {
    let site = site();
    fs::remove_file(site.outer.join("site/app.js.br")).expect("removed");
    symlink("../secrets/key", site.outer.join("site/app.js.br")).expect("linked");
    fs::remove_file(site.outer.join("site/app.js.zst")).expect("removed");
    fs::create_dir(site.outer.join("site/app.js.zst")).expect("created");
    let answer = site.fetch("/app.js", &[(ACCEPT_ENCODING, "br, zstd, gzip")]).await;
    assert_eq!(read(&answer), (200, "gzip", "gzip!"));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let site = site();
    let files = site.configured(|config| config.precompressed = false);
    let answer = answer(&files, Method::GET, "/app.js", &[(ACCEPT_ENCODING, "br")]).await;
    assert_eq!((read(&answer), answer.headers.get(VARY)), ((200, "", "original"), None));
}

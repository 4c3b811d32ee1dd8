//! What is answered where there is no file: another index, a listing, the page of an application, a page for 404.

use http::header::ACCEPT;

use super::*;

async fn get(files: &Files, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
    answer(files, Method::GET, path, fields).await
}

#[tokio::test]
async fn the_first_index_that_is_there_stands_for_the_directory() {
    let site = Site::new();
    site.write("empty/second.html", "second", 1000);
    let index = vec!["first.html".to_owned(), "second.html".to_owned()];
    let files = site.configured(|config| config.index = index);
    assert_eq!(get(&files, "/empty/", &[]).await.text(), "second");
    assert_eq!(get(&files, "/docs/", &[]).await.status, 404, "index.html is none of them");
    fs::create_dir(site.outer.join("site/docs/first.html")).expect("created");
    assert_eq!(get(&files, "/docs/", &[]).await.status, 404, "a directory is no index");
}

#[tokio::test]
async fn the_fallback_answers_for_pages_and_not_for_what_they_load() {
    let site = Site::new();
    let files = site.configured(|config| config.fallback = Some("/index.html".into()));
    for path in ["/users/7", "/", "/empty/", "/docs/none/x"] {
        let answer = get(&files, path, &[]).await;
        assert_eq!((answer.status, answer.text()), (200, "<h1>home</h1>"), "{path}");
    }
    assert_eq!(get(&files, "/app.js", &[]).await.status, 404);
    let browser = [(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")];
    assert_eq!(get(&files, "/users/j.doe", &browser).await.status, 200);
    assert_eq!(get(&files, "/a.txt", &[]).await.text(), "0123456789", "what is there wins");
    assert_eq!(get(&files, "/docs", &[]).await.status, 301);
    for hidden in ["/.env", "/../secrets/key", "/.git/config"] {
        assert_eq!(get(&files, hidden, &browser).await.status, 404, "{hidden}");
    }
    let etag = get(&files, "/users/7", &[]).await.field(ETAG).to_owned();
    assert_eq!(get(&files, "/users/8", &[(IF_NONE_MATCH, &etag)]).await.status, 304);
}

#[tokio::test]
async fn a_file_that_appears_where_the_fallback_answered_is_served() {
    let site = Site::new();
    let files = site.configured(|config| config.fallback = Some("index.html".into()));
    site.write("index.html", "home", 1000);
    assert_eq!(get(&files, "/new", &[]).await.text(), "home");
    site.write("new", "new", 1000);
    assert_eq!(get(&files, "/new", &[]).await.text(), "new");
}

#[tokio::test]
async fn a_fallback_that_is_missing_is_404() {
    let site = Site::new();
    for name in ["none.html", "docs", "../secrets/key"] {
        let files = site.configured(|config| config.fallback = Some(name.into()));
        assert_eq!(get(&files, "/users/7", &[]).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_page_of_the_site_is_the_content_of_404_and_never_more() {
    let site = Site::new();
    site.write("404.html", "lost?", 1000);
    let files = site.configured(|config| config.not_found = Some("404.html".into()));
    for path in ["/missing", "/empty/", "/.env", "/docs//x"] {
        let fields = [(IF_NONE_MATCH, "*"), (RANGE, "bytes=0-0")];
        let answer = get(&files, path, &fields).await;
        assert_eq!((answer.status, answer.text()), (404, "lost?"), "{path}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/html; charset=utf-8");
        for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
            assert_eq!(answer.headers.get(name), None);
        }
    }
    assert_eq!(get(&files, "/404.html", &[]).await.status, 200);
    fs::remove_file(site.outer.join("site/404.html")).expect("removed");
    let answer = get(&files, "/missing", &[]).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("Not Found"), "{}", answer.text());
}

#[tokio::test]
async fn a_directory_without_an_index_is_listed_if_asked_for() {
    let site = Site::new();
    site.write("empty/a&b.txt", "12345", 1000);
    assert_eq!(site.fetch("/empty/", &[]).await.status, 404, "off by default");
    let files = site.configured(|config| config.listing = true);
    let answer = get(&files, "/empty/", &[]).await;
    assert_eq!((answer.status, answer.field(CONTENT_TYPE)), (200, "text/html; charset=utf-8"));
    assert_eq!(answer.field(CONTENT_LENGTH), answer.body.len().to_string());
    let row = "<a href=\"a%26b.txt\">a&amp;b.txt</a><td>5 B<td>1970-01-01 00:16";
    assert!(answer.text().contains(row), "{}", answer.text());
    assert!(answer.text().contains("<title>/empty</title>"), "{}", answer.text());
    assert_eq!(get(&files, "/docs/", &[]).await.text(), "docs", "an index comes first");
    assert_eq!(get(&files, "/missing/", &[]).await.status, 404);
    assert_eq!(get(&files, "/.git/", &[]).await.status, 404);
    fs::remove_file(site.outer.join("site/index.html")).expect("removed");
    let root = get(&files, "/", &[]).await;
    assert!(!root.text().contains(".env") && root.text().contains("docs/"), "{}", root.text());
}

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use super::*;
use crate::handler::files::tests::Site;

/// The same directory with each way to hold the border.
fn roots(site: &Site) -> [Root; 3] {
    [Resolve::Cached, Resolve::Beneath, Resolve::Walk].map(|resolve| {
        let dir = open(site.outer.join("site"), OFlags::PATH, Mode::empty()).expect("opened");
        Root { shared: Arc::new(Shared { dir, resolve }) }
    })
}

async fn read(root: &Root, name: &str) -> Result<String, Error> {
    let mut content = String::new();
    let file = root.file(name.as_bytes()).await?;
    fs::File::from(file).read_to_string(&mut content).map_err(Error::Io)?;
    Ok(content)
}

#[tokio::test]
async fn every_way_opens_what_is_inside() {
    let site = Site::new();
    for root in roots(&site) {
        assert_eq!(read(&root, "a.txt").await.expect("read"), "0123456789", "{root:?}");
        assert_eq!(read(&root, "docs/index.html").await.expect("read"), "docs", "{root:?}");
    }
}

/// The names are those that `path` would never let through: each border holds by itself.
#[tokio::test]
async fn every_way_stops_at_the_border() {
    let site = Site::new();
    symlink("../../secrets", site.outer.join("site/docs/up")).expect("linked");
    symlink("../secrets/key", site.outer.join("site/key.txt")).expect("linked");
    let absolute = site.outer.join("secrets/key");
    symlink(&absolute, site.outer.join("site/absolute.txt")).expect("linked");
    let names = [
        "../secrets/key",
        "docs/../../secrets/key",
        "docs/up/key",
        "key.txt",
        "absolute.txt",
        absolute.to_str().expect("text"),
        "missing",
        "missing/file",
        "a.txt/index.html",
    ];
    for root in roots(&site) {
        for name in names {
            let refused = read(&root, name).await;
            assert!(matches!(refused, Err(Error::NotFound)), "{root:?} {name}: {refused:?}");
        }
    }
}

#[test]
fn this_kernel_holds_the_border_itself() {
    let site = Site::new();
    let root = Root::open(&site.outer.join("site")).expect("opened");
    assert_ne!(root.shared.resolve, Resolve::Walk, "openat2 has been there since Linux 5.6");
}

#[test]
fn a_root_that_is_missing_or_a_file_says_which() {
    let site = Site::new();
    for (name, kind) in [("none", io::ErrorKind::NotFound), ("a.txt", io::ErrorKind::NotADirectory)]
    {
        let path = site.outer.join("site").join(name);
        let error = Root::open(&path).expect_err("no directory");
        assert!(error.to_string().contains(path.to_str().expect("text")), "{error}");
        assert_eq!(error.source.kind(), kind);
    }
}

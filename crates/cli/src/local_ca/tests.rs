use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls_pki_types::pem::PemObject;

use super::*;

/// A directory of its own for each test, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("sterna-ca-{}-{number}", std::process::id())))
    }

    fn leaf(&self, more: &[&str], now: SystemTime) -> Result<Leaf, LocalCaError> {
        LocalCa::open(&self.0, now)?.leaf(more.iter().map(|&name| name.to_owned()), now)
    }

    fn root(&self) -> String {
        fs::read_to_string(self.0.join(ROOT_CERTIFICATE)).expect("a root")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn day(number: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((20_000 + number) * 86_400)
}

#[test]
fn the_second_start_finds_what_the_first_made() {
    let dir = Dir::new();
    assert!(LocalCa::open(&dir.0, day(0)).expect("made").is_new());
    assert!(!LocalCa::open(&dir.0, day(0)).expect("found").is_new());
    let (first, second) = (dir.leaf(&[], day(0)), dir.leaf(&[], day(5)));
    assert_eq!(first.expect("a leaf").chain, second.expect("a leaf").chain);
}

#[test]
fn a_leaf_with_less_than_two_days_is_renewed_with_the_same_key() {
    let dir = Dir::new();
    let first = dir.leaf(&[], day(0)).expect("a leaf");
    let root = dir.root();
    let renewed = dir.leaf(&[], day(5) + Duration::from_secs(1)).expect("a leaf");
    assert_ne!(first.chain, renewed.chain);
    assert_eq!((first.spki, root), (renewed.spki, dir.root()), "what people were told stays true");
}

#[test]
fn a_leaf_is_renewed_when_it_lacks_a_name_or_has_not_begun() {
    let dir = Dir::new();
    let first = dir.leaf(&[], day(1)).expect("a leaf");
    let named = dir.leaf(&["192.0.2.1", "a.test"], day(1)).expect("a leaf");
    assert_ne!(first.chain, named.chain);
    assert_eq!(named.chain, dir.leaf(&["a.test"], day(1)).expect("a leaf").chain);
    let earlier = dir.leaf(&["a.test"], day(0)).expect("a leaf");
    assert_ne!(named.chain, earlier.chain, "the clock was set back");
}

#[test]
fn a_root_that_ends_soon_is_replaced_and_its_leaf_with_it() {
    let dir = Dir::new();
    let first = dir.leaf(&[], day(0)).expect("a leaf");
    let root = dir.root();
    dir.leaf(&[], day(3620)).expect("a leaf");
    assert_eq!(root, dir.root(), "30 days are left");
    let later = dir.leaf(&[], day(3621)).expect("a leaf");
    assert_ne!(root, dir.root());
    assert_ne!(first.chain, later.chain);
}

#[test]
fn the_leaf_is_for_this_machine_signed_by_the_root_and_lives_a_week() {
    let dir = Dir::new();
    let leaf = dir.leaf(&["192.0.2.1"], day(0)).expect("a leaf");
    let root = CertificateDer::from_pem_slice(dir.root().as_bytes()).expect("PEM");
    let (_, root) = X509Certificate::from_der(&root).expect("a certificate");
    let (_, parsed) = X509Certificate::from_der(&leaf.chain[0]).expect("a certificate");
    assert!(root.is_ca() && !parsed.is_ca());
    assert_eq!(parsed.issuer(), root.subject());
    let names = names_in(&parsed);
    for name in ["localhost", "127.0.0.1", "::1", "192.0.2.1"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    let validity = parsed.validity();
    let life = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(life, 7 * 86_400 + 3600);
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = Dir::new();
    dir.leaf(&[], day(0)).expect("a leaf");
    for (name, mode) in
        [("", 0o700), (ROOT_KEY, 0o600), (LEAF_KEY, 0o600), (ROOT_CERTIFICATE, 0o644)]
    {
        let metadata = fs::metadata(dir.0.join(name)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name:?}");
    }
    let left: Vec<_> =
        fs::read_dir(&dir.0).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 5, "four files and the lock: {left:?}");
}

#[test]
fn damage_is_named_and_not_overwritten() {
    for name in [ROOT_CERTIFICATE, ROOT_KEY, LEAF_KEY, LEAF_CERTIFICATE] {
        let dir = Dir::new();
        dir.leaf(&[], day(0)).expect("a leaf");
        fs::write(dir.0.join(name), "damaged").expect("written");
        let error = dir.leaf(&[], day(0)).expect_err("damaged");
        let LocalCaError::Broken { path } = error else { panic!("{name}: {error}") };
        assert_eq!(path, dir.0.join(name));
    }
}

#[test]
fn a_key_of_another_authority_is_damage() {
    let (dir, other) = (Dir::new(), Dir::new());
    dir.leaf(&[], day(0)).expect("a leaf");
    other.leaf(&[], day(0)).expect("a leaf");
    fs::copy(other.0.join(ROOT_KEY), dir.0.join(ROOT_KEY)).expect("copied");
    assert!(matches!(dir.leaf(&[], day(0)), Err(LocalCaError::Broken { .. })));
}

#[test]
fn servers_that_start_together_share_one_authority() {
    let dir = Dir::new();
    let leaves: Vec<_> = thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| dir.leaf(&[], day(0)))).collect();
        let ends = starts.into_iter().map(|start| start.join().expect("no panic").expect("a leaf"));
        ends.map(|leaf| (leaf.chain, leaf.spki)).collect()
    });
    assert!(leaves.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = Dir::new();
    fs::write(&dir.0, "a file").expect("written");
    let error = dir.leaf(&[], day(0)).expect_err("no directory");
    assert!(error.to_string().contains(dir.0.to_str().expect("text")), "{error}");
    fs::remove_file(&dir.0).expect("removed");
}

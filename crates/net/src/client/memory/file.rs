//! The file that Alt-Svc and the memory of HTTP/3 are kept in between runs.
//!
//! One JSON object, for its owner's eyes alone: it tells which servers were visited. It is written beside and renamed,
//! so that a reader sees the old one or the new one. What cannot be read is as good as nothing: it is a cache.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{Entry, Memory, Place};
use crate::client::{
    alt_svc::{AltService, AltSvcCache, Remembered},
    origin::{Host, Origin, Scheme},
};

/// What is kept: where else origins are served, and how HTTP/3 fared there.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) alt_svc: AltSvcCache,
    pub(crate) memory: Memory,
    /// Which network it was learnt on; empty if that cannot be told.
    pub(crate) network: String,
}

impl Kept {
    /// Reads the file; what is not there, too long or of another shape is left out.
    pub(crate) fn load(path: &Path, now: SystemTime) -> Self {
        match read(path) {
            Ok(kept) => kept.into_kept(now),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(%error, path = %path.display(), "what was learnt is not read");
                }
                Self::default()
            }
        }
    }

    /// The file's text.
    pub(crate) fn encode(&self, now: SystemTime) -> Vec<u8> {
        let alternatives = self.alt_svc.entries().into_iter().flat_map(|(origin, services)| {
            let live = services.iter().filter(move |remembered| remembered.expires > now);
            live.map(move |remembered| Alternative::new(origin, remembered))
        });
        let quic =
            self.memory.entries().into_iter().map(|(origin, place, e)| Quic::new(origin, place, e));
        let shape = Shape {
            schema: SCHEMA.to_owned(),
            network: self.network.clone(),
            alternatives: alternatives.collect(),
            quic: quic.collect(),
        };
        serde_json::to_vec_pretty(&shape).expect("strings and numbers always are JSON")
    }
}

/// Replaces the file, readable by its owner alone.
///
/// # Errors
/// When the directory cannot be written; the old file is whole then.
pub(crate) fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let written = write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // A file that is new has this mode, and is where no link leads.
    options.write(true).create_new(true).mode(MODE);
    let mut file = match options.open(path) {
        // Left by a process of the same number, which is gone.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.write_all(text)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn read(path: &Path) -> io::Result<Shape> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|read| read > LONGEST) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    let shape: Shape = serde_json::from_slice(&text)?;
    if shape.schema != SCHEMA {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version"));
    }
    Ok(shape)
}

#[derive(Serialize, Deserialize)]
struct Shape {
    schema: String,
    network: String,
    alternatives: Vec<Alternative>,
    quic: Vec<Quic>,
}

/// Times are seconds since 1970, spans are microseconds.
#[derive(Serialize, Deserialize)]
struct Alternative {
    origin: String,
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    port: u16,
    expires: u64,
    #[serde(default)]
    persist: bool,
}

#[derive(Serialize, Deserialize)]
struct Quic {
    origin: String,
    host: String,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    srtt_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default)]
    has_worked: bool,
    #[serde(default)]
    on_trial: bool,
    #[serde(default)]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broken_until: Option<u64>,
}

impl Shape {
    fn into_kept(self, now: SystemTime) -> Kept {
        let mut kept = Kept { network: self.network, ..Kept::default() };
        let mut by_origin: Vec<(Origin, Vec<Remembered>)> = Vec::new();
        for alternative in self.alternatives {
            let Some((origin, remembered)) = alternative.into_remembered(now) else { continue };
            match by_origin.last_mut().filter(|(last, _)| *last == origin) {
                Some((_, services)) => services.push(remembered),
                None => by_origin.push((origin, vec![remembered])),
            }
        }
        for (origin, services) in by_origin {
            kept.alt_svc.insert(&origin, services);
        }
        for quic in self.quic {
            let Some((origin, place, entry)) = quic.into_entry() else { continue };
            kept.memory.insert(&origin, &place, &entry, now);
        }
        kept
    }
}

impl Alternative {
    fn new(origin: &Origin, remembered: &Remembered) -> Self {
        let Remembered { service, expires, persist } = remembered;
        Self {
            origin: origin.to_string(),
            protocol: String::from_utf8_lossy(&service.protocol).into_owned(),
            host: service.host.as_ref().map(Host::to_string),
            port: service.port,
            expires: to_seconds(*expires),
            persist: *persist,
        }
    }

    fn into_remembered(self, now: SystemTime) -> Option<(Origin, Remembered)> {
        let origin = parse_origin(&self.origin)?;
        let host = match self.host {
            Some(host) => Some(Host::parse(&host).ok()?),
            None => None,
        };
        let expires = from_seconds(self.expires)?;
        let is_fresh = expires > now && self.port > 0;
        let expires = expires.min(now + crate::client::alt_svc::LONGEST_MEMORY);
        let service = AltService { protocol: self.protocol.into_bytes(), host, port: self.port };
        is_fresh.then_some((origin, Remembered { service, expires, persist: self.persist }))
    }
}

impl Quic {
    fn new(origin: &Origin, place: &Place, entry: &Entry) -> Self {
        Self {
            origin: origin.to_string(),
            host: place.host.to_string(),
            port: place.port,
            srtt_us: entry.srtt.and_then(|srtt| srtt.as_micros().try_into().ok()),
            address: entry.address,
            has_worked: entry.has_worked,
            on_trial: entry.on_trial,
            failures: entry.failures,
            broken_until: entry.broken_until.map(to_seconds),
        }
    }

    fn into_entry(self) -> Option<(Origin, Place, Entry)> {
        let place = Place { host: Host::parse(&self.host).ok()?, port: self.port };
        let entry = Entry {
            srtt: self.srtt_us.map(Duration::from_micros),
            address: self.address,
            has_worked: self.has_worked,
            on_trial: self.on_trial,
            failures: self.failures,
            broken_until: self.broken_until.and_then(from_seconds),
            ..Entry::default()
        };
        Some((parse_origin(&self.origin)?, place, entry))
    }
}

fn parse_origin(text: &str) -> Option<Origin> {
    let origin = Origin::of(&text.parse().ok()?).ok()?;
    (origin.scheme() == Scheme::Https).then_some(origin)
}

fn to_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn from_seconds(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

const SCHEMA: &str = "sterna.alternatives/1";

/// Bytes: enough for all that the caches hold.
const LONGEST: u64 = 4 << 20;

/// For its owner alone.
const MODE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::client::memory::Health;

    fn origin() -> Origin {
        Origin::of(&"https://example.com/".parse().unwrap()).unwrap()
    }

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn place() -> Place {
        Place { host: Host::parse("alt.example.com").unwrap(), port: 443 }
    }

    /// A directory that goes when the test ends.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sterna-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_learnt_is_known_to_the_next_run() {
        let dir = Directory::new("kept");
        let path = dir.0.join("state.json");
        let mut kept = Kept { network: "home".to_owned(), ..Kept::default() };
        let field = "h3=\"alt.example.com:443\"; ma=100; persist=1, h3=\":443\"; ma=5";
        kept.alt_svc.on_field(&origin(), [field.as_bytes()], at(0));
        kept.memory.on_works(&origin(), &place(), Duration::from_millis(30), IP);
        kept.memory.on_broken(&origin(), &Place { port: 444, ..place() }, at(0));
        save(&path, &kept.encode(at(0))).unwrap();

        let mut read = Kept::load(&path, at(10));
        assert_eq!(read.network, "home");
        let services = read.alt_svc.of(&origin(), at(10));
        assert_eq!(services.len(), 1, "the other one is over");
        assert_eq!(services[0].host, Some(place().host));
        let health = |port| read.memory.health(&origin(), &Place { port, ..place() }, at(10));
        assert_eq!(health(443), Health::Works { srtt: Duration::from_millis(30) });
        assert_eq!(health(444), Health::Broken { remaining: Duration::from_secs(290) });
        assert_eq!(health(445), Health::Unknown);
        assert_eq!(read.memory.of(&origin(), at(10)).address(&place()), Some(IP));
    }

    #[test]
    fn file_is_for_its_owner_alone_even_if_it_was_not_before() {
        let dir = Directory::new("mode");
        let path = dir.0.join("state.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        save(&path, &Kept::default().encode(at(0))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn link_that_was_put_where_it_is_written_leads_to_nothing() {
        let dir = Directory::new("planted");
        let (path, victim) = (dir.0.join("state.json"), dir.0.join("victim"));
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, beside(&path)).unwrap();
        save(&path, &Kept::default().encode(at(0))).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_nothing() {
        let dir = Directory::new("unread");
        let path = dir.0.join("state.json");
        let long = " ".repeat(usize::try_from(LONGEST).unwrap() + 1);
        let other =
            r#"{"schema":"sterna.alternatives/9","network":"","alternatives":[],"quic":[]}"#;
        for text in ["", "{}", "[1,2", other, &long] {
            fs::write(&path, text).unwrap();
            let kept = Kept::load(&path, at(0));
            assert!(kept.alt_svc.entries().is_empty() && kept.memory.entries().is_empty());
        }
        let wrong = r#"{"schema":"sterna.alternatives/1","network":"","alternatives":[
            {"origin":"gopher://x","protocol":"h3","port":1,"expires":9},
            {"origin":"https://x","protocol":"h3","port":0,"expires":9},
            {"origin":"https://x","protocol":"h3","port":1,"expires":18446744073709551615}],
            "quic":[{"origin":"https://x","host":"a b","port":1}]}"#;
        fs::write(&path, wrong).unwrap();
        let kept = Kept::load(&path, at(0));
        assert!(kept.alt_svc.entries().len() <= 1 && kept.memory.entries().is_empty());
        assert!(save(&dir.0.join("none").join("state.json"), b"").is_err());
    }
}

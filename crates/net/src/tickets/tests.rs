use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;

const HALF_DAY: Duration = Duration::from_secs(12 * 3600);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + HALF_DAY * 40_000
}

/// A directory of the test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("sterna-tickets-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tickets(store: impl KeyStore + 'static) -> Arc<Tickets> {
    Tickets::open_at(store, Window::default(), Instant::now(), noon()).unwrap()
}

#[test]
fn a_ticket_opens_under_what_it_was_sealed_for_alone() {
    let tickets = tickets(MemoryKeys);
    let ticket = tickets.seal(b"quic\0mtls", b"session", noon()).unwrap();
    let opened = |context: &[u8], ticket: &[u8]| {
        tickets.unseal(context, ticket, noon()).map(|(_, session)| session)
    };
    assert_eq!(opened(b"quic\0mtls", &ticket), Some(b"session".to_vec()));
    assert_eq!(opened(b"quic\0", &ticket), None);
    assert_eq!(opened(b"tcp\0mtls", &ticket), None);
    for at in 0..ticket.len() {
        let mut broken = ticket.clone();
        broken[at] ^= 1;
        assert_eq!(opened(b"quic\0mtls", &broken), None, "byte {at}");
        assert_eq!(opened(b"quic\0mtls", &ticket[..at]), None, "{at} bytes");
    }
}

#[test]
fn a_ticket_is_good_for_sixty_hours_and_for_no_more_than_seventy_two() {
    let tickets = tickets(MemoryKeys);
    for sealed in [0, 1, 6, 11] {
        let sealed = Duration::from_secs(sealed * 3600 + 1);
        let ticket = tickets.seal(b"c", b"session", noon() + sealed).unwrap();
        let is_good =
            |after: Duration| tickets.unseal(b"c", &ticket, noon() + sealed + after).is_some();
        assert!(is_good(Duration::from_secs(60 * 3600 - 2)));
        assert!(!is_good(Duration::from_secs(72 * 3600)));
    }
}

#[test]
fn keys_turn_every_half_day_and_old_ones_are_forgotten() {
    let directory = Directory::new("turn");
    let tickets = tickets(FileKeys::new(&directory.0));
    let mut seen = Vec::new();
    for turn in 0..20 {
        let time = noon() + HALF_DAY * turn;
        let ticket = tickets.seal(b"c", b"session", time).unwrap();
        seen.push(ticket);
        tickets.turn_now(Epoch::of(time)).unwrap();
        let ring = lock(&tickets.ring).clone();
        assert!(ring.keys().len() <= 7, "{:?}", ring.keys());
        let good = seen.iter().filter(|ticket| tickets.unseal(b"c", ticket, time).is_some());
        assert_eq!(good.count(), seen.len().min(6));
    }
    let lines = std::fs::read_to_string(directory.0.join("ticket.keys")).unwrap();
    assert_eq!(lines.lines().count(), 7, "five before, this one and the next");
}

#[test]
fn keys_outlive_the_process_and_are_for_their_owner() {
    let directory = Directory::new("restart");
    let store = FileKeys::new(&directory.0);
    let first = tickets(store.clone());
    let ticket = first.seal(b"c", b"session", noon()).unwrap();
    drop(first);
    let second = tickets(store);
    assert!(second.unseal(b"c", &ticket, noon()).is_some(), "resumed at once");
    let mode = |name| std::fs::metadata(directory.0.join(name)).unwrap().permissions().mode();
    for name in ["ticket.keys", "lock", "guard"] {
        assert_eq!(mode(name) & 0o777, 0o600, "{name}");
    }
    assert!(tickets(MemoryKeys).unseal(b"c", &ticket, noon()).is_none(), "other keys");
}

#[test]
fn what_is_no_key_in_the_file_costs_tickets_and_no_start() {
    let directory = Directory::new("broken");
    let store = FileKeys::new(&directory.0);
    let ticket = tickets(store.clone()).seal(b"c", b"session", noon()).unwrap();
    std::fs::write(directory.0.join("ticket.keys"), "\n1 zz\n40000 00\nx y\n").unwrap();
    let tickets = tickets(store);
    assert!(tickets.unseal(b"c", &ticket, noon()).is_none());
    assert!(tickets.seal(b"c", b"session", noon()).is_some());
}

#[test]
fn early_data_waits_after_a_restart_and_not_where_there_was_nothing_to_replay() {
    let directory = Directory::new("wait");
    let (store, now) = (FileKeys::new(&directory.0), Instant::now());
    let open = || Tickets::open_at(store.clone(), Window::default(), now, noon()).unwrap();
    let first = open();
    assert_eq!(first.judge(Number(1), now, noon()), Verdict::Fresh);
    assert_eq!(first.judge(Number(1), now, noon()), Verdict::Replayed);
    drop(first);
    let second = open();
    assert_eq!(second.judge(Number(1), now, noon()), Verdict::Young);
    let wait = Window::default().time;
    let last = wait - Duration::from_millis(1);
    assert_eq!(second.judge(Number(2), now + last, noon() + last), Verdict::Young);
    assert_eq!(second.judge(Number(2), now + wait, noon() + wait), Verdict::Fresh);
}

#[test]
fn one_of_those_who_share_keys_takes_early_data_and_when_it_ends_another_does() {
    let directory = Directory::new("shared");
    let (store, now) = (FileKeys::new(&directory.0), Instant::now());
    let open = || Tickets::open_at(store.clone(), Window::default(), now, noon()).unwrap();
    let (first, second) = (open(), open());
    let ticket = first.seal(b"c", b"session", noon()).unwrap();
    assert!(second.unseal(b"c", &ticket, noon()).is_some(), "sessions go on at either");
    let judge = |tickets: &Tickets, number, after: Duration| {
        tickets.judge(Number(number), now + after, noon() + after)
    };
    let second_later = Duration::from_secs(1);
    let wait = Window::default().time;
    // However long both have been there: to have the keys is not enough.
    assert_eq!(judge(&first, 1, wait * 2), Verdict::Fresh);
    assert_eq!(judge(&second, 1, wait * 2), Verdict::Young);
    drop(first);
    // What the first has taken is still of the right age.
    let ended = wait * 2 + second_later;
    assert_eq!(judge(&second, 1, ended), Verdict::Young);
    assert_eq!(judge(&second, 2, ended + wait - second_later), Verdict::Young);
    assert_eq!(judge(&second, 2, ended + wait), Verdict::Fresh);
    assert_eq!(judge(&second, 2, ended + wait), Verdict::Replayed);
}

#[test]
fn a_clock_that_is_set_back_makes_the_guard_begin_anew() {
    let (tickets, now) = (tickets(MemoryKeys), Instant::now());
    assert_eq!(tickets.judge(Number(1), now, noon()), Verdict::Fresh);
    let later = Duration::from_secs(1000);
    assert_eq!(tickets.judge(Number(2), now + later, noon() + later), Verdict::Fresh);
    // Number 1 was forgotten; its flight would be of the right age again.
    assert_eq!(tickets.judge(Number(1), now + later, noon()), Verdict::Young);
}

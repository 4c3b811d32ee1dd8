//! Random bytes for names: from the system, many at once.
//!
//! They name requests, traces and visitors. They are as good as those of a key, so that nobody guesses the next one.

use std::cell::RefCell;

use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes, of at most [`STORE`]; all zero when the system has none, which it has from its start on.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    POOL.with_borrow_mut(|pool| pool.take())
}

/// What was fetched and not used yet: one system call for many requests.
struct Pool {
    store: [u8; STORE],
    used: usize,
}

impl Pool {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= STORE) };
        if self.used + N > STORE {
            // The kernel gives up to 256 bytes at once, uninterrupted.
            match getrandom(&mut self.store, GetRandomFlags::empty()) {
                Ok(STORE) => self.used = 0,
                Ok(_) | Err(_) => return [0; N],
            }
        }
        let mut taken = [0; N];
        if let Some(fresh) = self.store.get_mut(self.used..self.used + N) {
            taken.copy_from_slice(fresh);
            fresh.fill(0);
        }
        self.used += N;
        taken
    }
}

const STORE: usize = 256;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { store: [0; STORE], used: STORE }) };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_come_twice_over_many_refills() {
        let all: HashSet<[u8; 10]> = (0..1000).map(|_| bytes()).collect();
        assert_eq!(all.len(), 1000);
        assert!(!all.contains(&[0; 10]));
    }
}

//! How far a load is, on a line of the terminal that is written over ten times a second.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use sterna_diag::load::Progress;

/// The line that shows how far it is, on a terminal only.
pub(super) struct Line {
    is_shown: bool,
    last: (u64, Option<Duration>),
}

impl Line {
    pub(super) fn new(is_wanted: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_shown: is_wanted && !is_dumb && io::stderr().is_terminal(), last: (0, None) }
    }

    pub(super) fn show(&mut self, at: &Progress) {
        if !self.is_shown {
            return;
        }
        let text = match at.running {
            None => format!("connecting, {} handshakes", at.handshakes),
            Some(running) => {
                let (before, then) = self.last;
                let done = at.done.max(at.handshakes);
                let passed = running.saturating_sub(then.unwrap_or_default()).as_secs_f64();
                let rate =
                    if passed > 0.0 { (done - before.min(done)) as f64 / passed } else { 0.0 };
                self.last = (done, Some(running));
                let what = if at.warmup_left.is_zero() { "" } else { ", warming up" };
                format!(
                    "{:.1} s  {done} done, {rate:.0}/s, {} failed{what}",
                    running.as_secs_f64(),
                    at.failed
                )
            }
        };
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }

    pub(super) fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

//! `sterna status --watch`: asks once a second, and draws.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use http::Method;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::sight::Sight;
use super::{PATIENCE, now, view};
use crate::admin::ask::Server;
use crate::error::Error;

/// Draws until the user leaves.
pub(super) fn watch(server: &Server) -> Result<(), Error> {
    if !io::stdout().is_terminal() {
        return Err(Error::NoTerminal);
    }
    // Before the screen is taken: where there is no server, that is told as always.
    let mut sight = Sight::default();
    look(server, &mut sight)?;
    let mut terminal = ratatui::try_init().map_err(Error::Output)?;
    let watched = run(&mut terminal, server, &mut sight);
    ratatui::restore();
    watched.map_err(Error::Output)
}

fn look(server: &Server, sight: &mut Sight) -> Result<(), Error> {
    let status = server.ask(Method::GET, "/status", PATIENCE)?;
    let connections = server.ask(Method::GET, "/connections?limit=200", PATIENCE)?;
    sight.backends = server.ask(Method::GET, "/backends", PATIENCE)?;
    sight.see(now(), status, connections);
    Ok(())
}

fn run(terminal: &mut DefaultTerminal, server: &Server, sight: &mut Sight) -> io::Result<()> {
    let mut trouble = None;
    loop {
        terminal.draw(|frame| view::draw(frame, sight, now(), trouble.as_deref()))?;
        let next = Instant::now() + PERIOD;
        while event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if is_end(key) => return Ok(()),
                Event::Resize(..) => break,
                _ => {}
            }
        }
        trouble = look(server, sight).err().map(|error| error.in_full());
    }
}

fn is_end(key: KeyEvent) -> bool {
    let is_interrupt =
        key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press
        && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// How often the server is asked.
const PERIOD: Duration = Duration::from_secs(1);

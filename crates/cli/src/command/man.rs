//! `sterna man`: the manual page, with a section for each verb.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use super::Cli;
use crate::error::Error;

pub(super) fn run() -> Result<(), Error> {
    let page = page().map_err(Error::Output)?;
    io::stdout().write_all(&page).map_err(Error::Output)
}

/// In roff.
fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // In place of a list of pages that nobody has: the verbs are sections of this one.
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let man = Man::new(verb.clone());
        writeln!(page, ".SH \"STERNA {}\"", verb.get_name().to_uppercase())?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_verb_and_its_options() {
        let page = String::from_utf8(page().expect("written")).expect("text");
        for verb in Cli::command().get_subcommands() {
            let section = format!(".SH \"STERNA {}\"", verb.get_name().to_uppercase());
            assert!(page.contains(&section), "{section}");
        }
        assert!(page.contains("listing") && page.contains(".TH sterna"), "{page}");
    }
}

//! What the command line asks for.

use std::path::PathBuf;

use super::USAGE;
use super::case::Case;
use super::load::Loader;
use super::peer;

/// A measurement to make.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) loader: Loader,
    /// Sterna as it is somewhere else.
    pub(crate) this: Option<PathBuf>,
    pub(crate) build: bool,
    /// Builds and tells what there is, and measures nothing.
    pub(crate) only_builds: bool,
    /// Measures with both loads, to see whether they rank alike.
    pub(crate) cross_check: bool,
}

impl Options {
    /// `None` asks for help.
    pub(crate) fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self {
            cases: Vec::new(),
            peers: Vec::new(),
            rounds: 5,
            loader: Loader::Foreign,
            this: None,
            build: true,
            only_builds: false,
            cross_check: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = rounds
                        .ok_or("`--rounds` takes a number from 1 on, such as `--rounds 5`")?;
                }
                "--this" => options.this = Some(value()?.into()),
                "--no-build" => options.build = false,
                "--case" => options.add(value()?)?,
                "--peer" => {
                    let name = value()?;
                    if !peer::NAMES.contains(&name.as_str()) {
                        let names = peer::NAMES.join(", ");
                        return Err(format!("`{name}` is not a peer; there are {names}"));
                    }
                    options.peers.push(name.clone());
                }
                "--load" => {
                    options.loader = match value()?.as_str() {
                        "foreign" => Loader::Foreign,
                        "sterna" => Loader::Sterna,
                        other => return Err(format!("`{other}` is not a load: foreign, sterna")),
                    };
                }
                "peers" => options.only_builds = true,
                "cross-check" => options.cross_check = true,
                "help" | "--help" | "-h" => return Ok(None),
                case => options.add(case)?,
            }
        }
        if options.cases.is_empty() {
            let usual: &[Case] = if options.cross_check { &CROSS } else { &Case::ALL };
            options.cases.extend(usual);
        }
        if options.peers.is_empty() {
            options.peers.extend(peer::NAMES.map(str::to_owned));
        }
        Ok(Some(options))
    }

    /// A group of cases, or one by its own name.
    fn add(&mut self, name: &str) -> Result<(), String> {
        match name {
            "all" => self.cases.extend(Case::ALL),
            "h3-small" => self.cases.extend(Case::SMALL),
            "h3-bulk" => self.cases.push(Case::Bulk),
            "h3-handshake" => self.cases.extend(Case::HANDSHAKES),
            "h2-small" => self.cases.push(Case::HTTP2),
            "h1-small" => self.cases.push(Case::HTTP1),
            "h3-streams" => self.cases.extend(Case::STREAMS),
            "h3-workers" => self.cases.push(Case::Workers),
            "h3-idle" => self.cases.push(Case::IDLE),
            "h3-idle-10000" => self.cases.push(Case::IDLE_MANY),
            "h3-curve" => self.cases.extend(Case::CURVE),
            "proxy" => self.cases.extend(Case::PROXY),
            name => {
                match Case::ALL.into_iter().chain(Case::PROXY).find(|case| case.to_string() == name)
                {
                    Some(case) => self.cases.push(case),
                    None => return Err(format!("`{name}` is not a case of bench\n\n{USAGE}")),
                }
            }
        }
        Ok(())
    }
}

/// What both loads can make.
const CROSS: [Case; 4] = [Case::SMALL[0], Case::HANDSHAKES[0], Case::HTTP2, Case::HTTP1];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn no_argument_means_all_cases_and_all_peers_in_five_rounds() {
        let options = parse("").unwrap().unwrap();
        assert_eq!(options.cases, Case::ALL);
        assert_eq!(options.peers, peer::NAMES);
        assert_eq!(options.rounds, 5);
    }

    #[test]
    fn zero_rounds_are_refused() {
        assert!(parse("--rounds 0").is_err_and(|message| message.contains("from 1 on")));
        assert_eq!(parse("--rounds 1").unwrap().unwrap().rounds, 1);
    }

    #[test]
    fn an_unknown_case_or_peer_names_itself() {
        assert!(parse("h3-smal").is_err_and(|message| message.contains("`h3-smal`")));
        assert!(parse("--peer apache").is_err_and(|message| message.contains("`apache`")));
    }

    #[test]
    fn what_is_passed_on_is_a_group_of_its_own() {
        assert_eq!(parse("proxy").unwrap().unwrap().cases, Case::PROXY);
        assert_eq!(parse("proxy-h2-1m").unwrap().unwrap().cases, [Case::PROXY[4]]);
    }

    #[test]
    fn a_case_is_named_alone_or_by_its_option() {
        for line in ["h3-handshake-x25519", "--case h3-handshake-x25519"] {
            assert_eq!(parse(line).unwrap().unwrap().cases, [Case::HANDSHAKES[0]]);
        }
    }
}

//! All that a measurement needs on disk: programs, files, certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::{self, Case};
use super::contender::{Contender, Facts, Kind, Setting};
use super::load::Tools;
use super::options::Options;
use super::{build, peer, succeed, target_directory};

/// What is there to measure with.
pub(crate) struct Stage {
    /// Holds the site, the certificate and the results.
    pub(crate) directory: PathBuf,
    pub(crate) tools: Tools,
    /// Ours first.
    contenders: Vec<Contender>,
    /// Peers that cannot be had, with their reasons.
    pub(crate) missing: Vec<String>,
}

/// One line of a case: who, how set up.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) contender: Contender,
    pub(crate) setting: Setting,
}

impl Stage {
    pub(crate) fn prepare(options: &Options) -> Result<Self, Box<dyn std::error::Error>> {
        let root = crate::workspace_root();
        let target = target_directory();
        let programs = target.join("release");
        let directory = target.join("bench");
        // Before the builds: a file that was written just now is not served from memory yet.
        write_site(&directory.join("site"))?;
        if options.build {
            if options.this.is_none() {
                build(&root, &target, &["--package", "sterna"])?;
            }
            build(&root.join("bench"), &target, &[])?;
        }
        // A contender starts in another directory.
        let sterna = match &options.this {
            Some(this) => std::path::absolute(this)?,
            None => programs.join("sterna"),
        };
        let (mut contenders, mut missing) = (vec![ours(&sterna)?], Vec::new());
        let folder = peer::folder(&target);
        for name in &options.peers {
            match peer::find(name, &folder, &programs, options.build) {
                Ok(found) => contenders.extend(found),
                Err(reason) => missing.push(reason),
            }
        }
        let tools =
            Tools { load: programs.join("load"), sterna, openssl: directory.join("openssl.cnf") };
        write_certificate(&tools.load, &directory)?;
        fs::write(&tools.openssl, include_str!("../../../bench/peers/openssl.cnf"))?;
        Ok(Self { directory, tools, contenders, missing })
    }

    /// Who takes part in `case`, ours first.
    pub(crate) fn entries(&self, case: Case) -> Vec<Entry> {
        let able = self.contenders.iter().filter(|contender| contender.can(case));
        let setting = case.setting();
        able.flat_map(|contender| {
            let entry = |name, workers| {
                let setting = Setting { workers, ..setting };
                Entry { name, contender: contender.clone(), setting }
            };
            if case == Case::Workers {
                let name = |workers| format!("{}, {workers}", contender.name);
                vec![entry(name("2 workers"), 2), entry(name("1 worker"), 1)]
            } else {
                vec![entry(contender.name.to_owned(), 1)]
            }
        })
        .collect()
    }

    /// All of them, for the table's legend.
    pub(crate) fn contenders(&self) -> &[Contender] {
        &self.contenders
    }
}

fn ours(program: &Path) -> Result<Contender, String> {
    let version = peer::first_line(Command::new(program).arg("--version"));
    let version = version.ok_or_else(|| format!("{} does not run", program.display()))?;
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(crate::workspace_root());
    let commit = peer::first_line(&mut git).unwrap_or_default();
    Ok(Contender {
        name: "sterna",
        program: program.to_owned(),
        kind: Kind::Sterna,
        facts: Facts {
            version: format!("{version}, {commit}"),
            cryptography: "AWS-LC",
            congestion: "cubic",
        },
        divisor: 1,
    })
}

fn write_site(site: &Path) -> std::io::Result<()> {
    fs::create_dir_all(site)?;
    for (name, length) in [(case::SMALL_FILE, case::SMALL_LEN), (case::BULK_FILE, case::BULK_LEN)] {
        let file = site.join(name.trim_start_matches('/'));
        if fs::metadata(&file).map_or(true, |metadata| metadata.len() != length) {
            let content = (0..length).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8);
            fs::write(&file, content.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// The certificate, its key, and both in one file for who wants that.
fn write_certificate(load: &Path, directory: &Path) -> crate::Outcome {
    succeed(Command::new(load).arg("certificate").arg(directory))?;
    let read = |name: &str| fs::read_to_string(directory.join(name));
    fs::write(directory.join("both.pem"), read("cert.pem")? + &read("key.pem")?)?;
    Ok(())
}

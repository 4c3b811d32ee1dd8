//! `sterna cert`: the certificates of the running server, and a new one at once.

mod kept;

use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value as Json, json};
use x509_parser::time::ASN1Time;

use super::status::{list, now, span};
use crate::admin::ask::{Server, Which};
use crate::error::Error;
use crate::report;

/// Arguments of `cert`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the certificates: their names, who issued them, when they end, where they come from and when they are renewed.
    /// Where no server runs, what its configuration and its storage have.
    Ls(Ls),
    /// Order a new certificate for a host at once, and tell how it went.
    Renew(Renew),
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    which: Which,

    /// Print everything as JSON on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Renew {
    /// A host of a site with `acme = true`.
    name: String,

    #[command(flatten)]
    which: Which,

    /// Print what is known of the certificate then as JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(&self) -> Result<(), Error> {
        match &self.verb {
            Verb::Ls(ls) => ls.run(),
            Verb::Renew(renew) => renew.run(),
        }
    }
}

impl Ls {
    fn run(&self) -> Result<(), Error> {
        let listed = match self.which.find().and_then(|server| certificates(&server)) {
            // What it would show, if it is known which one is meant.
            Err(error @ (Error::NotRunning | Error::NobodyThere { .. })) => {
                kept::certificates(&self.which.config().ok_or(error)?)?
            }
            listed => listed?,
        };
        let text = match self.json {
            true => format!("{:#}", json!({ "certificates": listed })),
            false => table(&listed, now()),
        };
        report::print(&text).map_err(Error::Output)
    }
}

impl Renew {
    fn run(&self) -> Result<(), Error> {
        let server = self.which.find()?;
        let name = self.name.to_ascii_lowercase();
        let asked =
            server.ask(Method::POST, &format!("/certificates/renew?name={name}"), PATIENCE)?;
        let before = asked["renewing"][0]["orders"].as_u64().unwrap_or(0);
        let row = ended(&server, &name, before)?;
        if let Some(error) = row["error"].as_str() {
            let help = "what was shown before is shown on; it is tried again by itself";
            return Err(Error::Refused { told: error.to_owned(), help: Some(help.to_owned()) });
        }
        if self.json {
            return report::print(&format!("{row:#}")).map_err(Error::Output);
        }
        report::say(&format!("{name} is renewed: {}", ends(&row, now())));
        Ok(())
    }
}

fn certificates(server: &Server) -> Result<Vec<Json>, Error> {
    let answer = server.ask(Method::GET, "/certificates", PATIENCE)?;
    Ok(answer["certificates"].as_array().cloned().unwrap_or_default())
}

/// What is known of an order that has ended since there were this many.
fn ended(server: &Server, name: &str, before: u64) -> Result<Json, Error> {
    let until = Instant::now() + ORDER_PATIENCE;
    loop {
        let is_meant = |row: &Json| {
            let names = row["names"].as_array();
            row["source"] == "acme" && names.is_some_and(|names| names.iter().any(|of| of == name))
        };
        let row = certificates(server)?.into_iter().find(is_meant);
        match row {
            Some(row) if row["orders"].as_u64() > Some(before) => return Ok(row),
            _ if Instant::now() >= until => return Err(Error::Unordered { name: name.to_owned() }),
            _ => thread::sleep(LOOK),
        }
    }
}

/// A line for each, in columns.
fn table(certificates: &[Json], now: f64) -> String {
    let head = ["NAMES", "ISSUER", "ENDS", "FROM", "RENEWED"].map(str::to_owned);
    let rows = certificates.iter().map(|row| {
        let issuer = row["issuer"].as_str().unwrap_or("-").to_owned();
        let renewed = match (row["next_renewal"].as_f64(), row["error"].as_str()) {
            (Some(at), None) => relative(at, now),
            (Some(at), Some(error)) => format!("{}, after: {error}", relative(at, now)),
            (None, _) if row["source"] == "local" => "at a start".to_owned(),
            (None, _) => "by you".to_owned(),
        };
        let from = row["source"].as_str().unwrap_or_default().to_owned();
        [list(&row["names"]), issuer, ends(row, now), from, renewed]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or(0));
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `2027-02-24, in 89 days`.
fn ends(row: &Json, now: f64) -> String {
    let Some(at) = row["not_after"].as_i64() else { return "-".to_owned() };
    let date = |time: ASN1Time| time.to_datetime().date().to_string();
    let date = ASN1Time::from_timestamp(at).map_or_else(|_| at.to_string(), date);
    match at as f64 > now {
        true => format!("{date}, {}", relative(at as f64, now)),
        false => format!("{date}, ended"),
    }
}

fn relative(at: f64, now: f64) -> String {
    match at > now {
        true => format!("in {}", span(at - now)),
        false => "now".to_owned(),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

/// For an order, and those that are before it.
const ORDER_PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How often it is looked whether an order has ended.
const LOOK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_is_a_line_that_says_where_it_comes_from_and_what_comes_next() {
        let day = 86_400;
        let now = 1_700_000_000;
        let rows = [
            json!({ "names": ["a.example"], "issuer": "CN=CA", "not_after": now + 89 * day, "source": "acme",
                "next_renewal": now + 59 * day, "error": null }),
            json!({ "names": ["b.example"], "issuer": null, "not_after": null, "source": "acme",
                "next_renewal": now + 120, "error": "no" }),
            json!({ "names": ["*"], "issuer": "CN=Local", "not_after": now + 7 * day, "source": "local" }),
            json!({ "names": ["c.example", "d.example"], "issuer": "CN=X", "not_after": now - 1, "source": "files" }),
        ];
        let expected = [
            "NAMES                 ISSUER    ENDS                    FROM   RENEWED",
            "a.example             CN=CA     2024-02-11, in 89 days  acme   in 59 days",
            "b.example             -         -                       acme   in 2 min, after: no",
            "*                     CN=Local  2023-11-21, in 7 days   local  at a start",
            "c.example, d.example  CN=X      2023-11-14, ended       files  by you",
        ];
        assert_eq!(table(&rows, now as f64), expected.join("\n"));
    }
}

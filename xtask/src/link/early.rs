//! `cargo xtask bench early`: the first byte of an answer over a round trip, for a client that returns and for new ones.
//!
//! Each sample is a process of `sterna get` with a connection of its own. The time is from the request to the head of the
//! response, everything between in it, as the client tells it. A round trip is what the link was asked for; what it takes for one
//! is in the table as well: the answer to a SYN, which no program of either side has to run for.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::bench::build;
use crate::Outcome;

const USAGE: &str = "\
usage: cargo xtask bench early [--rounds N] [--rtt MS] [--this PROGRAM]

Time to the first byte of an answer by HTTP/3 with 0-RTT, with a whole handshake, and by HTTP/2 and HTTP/1.1 over new
connections of TLS 1.3, in turns. Needs root. Some four seconds a round.

  --rounds N        samples of each, 20 by default; the table has medians
  --rtt MS          of the link, 50 by default
  --this PROGRAM    measures this build of sterna instead of the one built here

Results: one table on stdout.
";

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let Some(options) = Options::parse(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let told = measure(&options)?;
    print!("{}", table(&told, options.round_trip)?);
    Ok(())
}

#[derive(Debug)]
struct Options {
    rounds: u32,
    round_trip: Duration,
    this: Option<PathBuf>,
}

impl Options {
    /// `None` asks for help.
    fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let mut options = Self { rounds: 20, round_trip: Duration::from_millis(50), this: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` takes a value"));
            let number = |text: &String| {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.ok_or(format!("`{argument}` takes a number from 1 on"))
            };
            match argument.as_str() {
                "--rounds" => options.rounds = number(value()?)?,
                "--rtt" => options.round_trip = Duration::from_millis(number(value()?)?.into()),
                "--this" => options.this = Some(value()?.into()),
                "help" | "--help" | "-h" => return Ok(None),
                unknown => {
                    return Err(format!("`{unknown}` is not an option of bench early\n\n{USAGE}"));
                }
            }
        }
        Ok(Some(options))
    }
}

/// What the client tells of one request.
#[derive(Debug, Deserialize)]
struct Told {
    protocol: String,
    early_data: String,
    timings: Timings,
}

#[derive(Debug, Deserialize)]
struct Timings {
    connect_ns: u64,
    first_byte_ns: u64,
}

fn measure(options: &Options) -> Result<Vec<Told>, Box<dyn std::error::Error>> {
    let sterna = match &options.this {
        Some(program) => fs::canonicalize(program)?,
        None => build()?,
    };
    let folder = crate::target_directory().join("bench/early");
    fs::create_dir_all(folder.join("site"))?;
    fs::write(folder.join("site/object"), "a first byte, and a few more")?;
    // With new keys a server takes early data at once.
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let mut link = super::command();
    link.args(["--rtt", &format!("{}ms", options.round_trip.as_millis()), "--ready", "4433"])
        .args(["--server", SERVER, "--", "sh", "-c", CLIENT])
        .current_dir(&folder)
        .env("STERNA", sterna)
        .env("ROUNDS", options.rounds.to_string())
        .env("STERNA_DATA", data)
        .stdin(Stdio::null())
        .stderr(fs::File::create(folder.join("link.log"))?);
    let output = link.output()?;
    if !output.status.success() {
        let log = fs::read_to_string(folder.join("link.log")).unwrap_or_default();
        return Err(format!("the link failed: {}\n{log}", output.status).into());
    }
    let told = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    Ok(told.collect::<Result<_, _>>()?)
}

const SERVER: &str = r#""$STERNA" files site --listen "$LINK_A:4433" --workers 1 --no-access-log"#;

const CLIENT: &str = r#"set -e
for round in $(seq "$ROUNDS"); do
  for way in --http3 --0rtt --http2 --http1.1; do
    "$STERNA" get $way --insecure --no-memory --json "https://$LINK_A:4433/object"
  done
done"#;

/// A way to the first byte: its name, how the client tells of it, and the round trips that there are to be at most.
struct Way(&'static str, &'static str, &'static str, Option<f64>);

const EARLY: Way = Way("HTTP/3, 0-RTT", "HTTP/3", "accepted", Some(1.05));
const WHOLE: Way = Way("HTTP/3, whole handshake", "HTTP/3", "not_offered", Some(2.05));
const HTTP2: Way = Way("HTTP/2, new TLS 1.3", "HTTP/2", "not_offered", None);
const HTTP1: Way = Way("HTTP/1.1, new TLS 1.3", "HTTP/1.1", "not_offered", None);

/// Median, least and most, in round trips; `None` of nothing.
fn spread(nanos: impl Iterator<Item = u64>, round_trip: Duration) -> Option<(f64, f64, f64)> {
    let mut samples: Vec<u64> = nanos.collect();
    samples.sort_unstable();
    let trips = |nanos: &u64| Duration::from_nanos(*nanos).as_secs_f64() / round_trip.as_secs_f64();
    let median = samples.get(samples.len() / 2)?;
    Some((trips(median), trips(samples.first()?), trips(samples.last()?)))
}

fn table(told: &[Told], round_trip: Duration) -> Result<String, String> {
    let mut text = format!(
        "First byte over {} ms there and back, in round trips\n\n| | median | least | most | to reach |\n|---|---|---|---|---|\n",
        round_trip.as_millis()
    );
    let (mut medians, mut counted) = (Vec::new(), 0);
    // What nobody's protocol can do without.
    let is_tcp = |told: &&Told| [HTTP1.1, HTTP2.1].contains(&told.protocol.as_str());
    let handshakes = told.iter().filter(is_tcp).map(|told| told.timings.connect_ns);
    let link = spread(handshakes, round_trip).ok_or("no handshake of TCP")?;
    text += &format!(
        "| the link: TCP's handshake | {:.3} | {:.3} | {:.3} | – |\n",
        link.0, link.1, link.2
    );
    for way in [EARLY, WHOLE, HTTP2, HTTP1] {
        let is_this = |told: &&Told| told.protocol == way.1 && told.early_data == way.2;
        let samples = told.iter().filter(is_this).map(|told| told.timings.first_byte_ns);
        counted += samples.clone().count();
        let Some((median, least, most)) = spread(samples, round_trip) else {
            return Err(format!("no sample of {}", way.0));
        };
        let limit = way.3.map_or("–".to_owned(), |limit| format!("{limit:.2}"));
        text += &format!("| {} | {median:.3} | {least:.3} | {most:.3} | {limit} |\n", way.0);
        medians.push(median);
    }
    if counted != told.len() {
        return Err(format!(
            "early data was refused in {} of {}",
            told.len() - counted,
            told.len()
        ));
    }
    if let [early, .., http1] = medians[..] {
        text += &format!(
            "\n0-RTT takes {:.3} × the link's round trip, and {:.2} × HTTP/1.1; to reach: 0.36.\n",
            early / link.0,
            early / http1
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(way: &Way, millis: u64) -> Told {
        let timings = Timings { connect_ns: 50_500_000, first_byte_ns: millis * 1_000_000 };
        Told { protocol: way.1.to_owned(), early_data: way.2.to_owned(), timings }
    }

    #[test]
    fn the_table_has_medians_in_round_trips_and_the_share_of_http1() {
        let mut samples: Vec<Told> = [51, 90, 50].map(|millis| told(&EARLY, millis)).into();
        samples.extend([told(&WHOLE, 101), told(&HTTP2, 150), told(&HTTP1, 153)]);
        let text = table(&samples, Duration::from_millis(50)).unwrap();
        assert!(text.contains("| HTTP/3, 0-RTT | 1.020 | 1.000 | 1.800 | 1.05 |"), "{text}");
        assert!(text.contains("| HTTP/3, whole handshake | 2.020 | 2.020 | 2.020 | 2.05 |"));
        assert!(text.contains("| the link: TCP's handshake | 1.010 | 1.010 | 1.010 | – |"));
        let end =
            "0-RTT takes 1.010 × the link's round trip, and 0.33 × HTTP/1.1; to reach: 0.36.\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn refused_early_data_is_no_sample_of_anything() {
        let all = [EARLY, WHOLE, HTTP2, HTTP1];
        let mut samples: Vec<Told> = all.iter().map(|way| told(way, 50)).collect();
        samples.push(Told { early_data: "rejected".to_owned(), ..told(&EARLY, 100) });
        let error = table(&samples, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error, "early data was refused in 1 of 5");
        assert!(table(&[], Duration::from_millis(50)).is_err());
    }
}

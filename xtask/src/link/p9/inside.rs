//! The client's end of the link: this program again, which starts the clients one after the other and prints what they took.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::contender::{ADDRESS, CONTENDERS, Contender};
use super::{BULK, OBJECT, OBJECTS, Sample, Work};
use crate::Outcome;

/// Tells this program that it is at the end of a link.
pub(super) const FLAG: &str = "--inside";

/// `ROUND_TRIP LOSS PROGRAM CONTENDER…`: a sample of each work by each contender, as lines of JSON.
pub(super) fn run(arguments: &[String]) -> Outcome {
    let [round_trip, loss, program, names @ ..] = arguments else {
        return Err("this is called by `bench p9` alone".into());
    };
    fs::copy("/proc/sys/net/ipv4/tcp_congestion_control", "tcp-b")?;
    for contender in CONTENDERS.iter().filter(|contender| names.iter().any(|n| n == contender.name))
    {
        wait_for(contender.port)?;
        for (work, measure) in
            [(Work::Bulk, bulk as fn(&Path, &Contender) -> _), (Work::Page, page)]
        {
            let (seconds, bytes) = measure(Path::new(program), contender)?;
            let sample = Sample {
                round_trip: round_trip.clone(),
                loss: loss.clone(),
                contender: contender.name.to_owned(),
                work,
                seconds,
                bytes,
            };
            println!("{}", serde_json::to_string(&sample)?);
        }
    }
    Ok(())
}

/// nginx may start later than Sterna, for which the link has waited.
fn wait_for(port: u16) -> Outcome {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((ADDRESS, port)).is_err() {
        if Instant::now() > until {
            return Err(format!("nobody listens on port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Seconds and bytes of one large file, whose rest is not waited for after [`LONGEST_BULK`].
fn bulk(program: &Path, contender: &Contender) -> std::io::Result<(f64, u64)> {
    let url = format!("https://{ADDRESS}:{}/bulk", contender.port);
    let mut command = Command::new(program);
    command.args(["get", "--insecure", contender.version, "--max-time", LONGEST_BULK, &url]);
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (mut bytes, mut buffer) = (0, vec![0; 64 * 1024]);
    let mut last = begun;
    if let Some(content) = &mut child.stdout {
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                taken => (bytes, last) = (bytes + taken as u64, Instant::now()),
            }
        }
    }
    child.wait()?;
    // What is cut off took all of its time, whenever its last byte came.
    let ended = if bytes == BULK { last } else { Instant::now() };
    Ok(((ended - begun).as_secs_f64(), bytes))
}

/// Seconds and bytes of a page. What did not arrive in [`LONGEST_PAGE`] is missing from the bytes.
fn page(program: &Path, contender: &Contender) -> std::io::Result<(f64, u64)> {
    let url = format!("https://{ADDRESS}:{}/object", contender.port);
    let streams = if contender.connections > 1 { 1 } else { OBJECTS };
    let mut command = Command::new(program);
    command
        .args(["load", "--insecure", contender.version, "--json", "--timeout", LONGEST_PAGE])
        .args(["-n", &OBJECTS.to_string(), "-m", &streams.to_string()])
        .args(["-c", &contender.connections.to_string(), &url]);
    let begun = Instant::now();
    let output = command.stderr(Stdio::null()).output()?;
    let seconds = begun.elapsed().as_secs_f64();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let done = report["requests"]["done"].as_u64().unwrap_or(0);
    Ok((seconds, done * OBJECT))
}

/// A controller that starves would hold everybody up.
const LONGEST_BULK: &str = "4s";
const LONGEST_PAGE: &str = "8s";

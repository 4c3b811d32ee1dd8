//! Passing requests on: the backend behind every proxy, the loads in front of them, and how much later answers come.
//!
//! The backend answers whatever it reads with the same bytes, so that it costs next to nothing and is the same for all. It
//! has core 1, as the load does; what is compared is the CPU time of the proxy on core 0. How much later answers come is told
//! at half of the rate that this proxy reached, beside going to the backend directly at that rate.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::Value;

use super::case::{Case, Content, Version};
use super::load::{Failure, Tools, said};
use super::server::{Server, Sign, free_port};
use super::table::Row;

/// Starts the backend of `case`, if it needs one.
pub(crate) fn origin(case: Case) -> Result<Option<Server>, Failure> {
    let Case::Proxy { content, .. } = case else { return Ok(None) };
    let port = free_port()?;
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(std::env::current_exe()?);
    command.args(["bench", "origin", &port.to_string(), &content.length().to_string()]);
    let server = Server::start(&mut command, Sign::Port { port, processes: 1 });
    server.map(Some).map_err(|said| format!("the backend did not start: {said}").into())
}

/// The backend itself: `bench origin PORT BYTES`. It ends with whoever started it.
pub(crate) fn serve(arguments: &[String]) -> crate::Outcome {
    let [port, length] = arguments else { return Err("origin takes a port and a length".into()) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?))?;
    let length: usize = length.parse()?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 26 Nov 2026 04:00:00 GMT\r\n\
         content-type: application/octet-stream\r\ncontent-length: {length}\r\netag: \"one\"\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    thread::scope(|scope| {
        for connection in listener.incoming().map_while(Result::ok) {
            // One that ends is nobody's loss.
            scope.spawn(|| drop(answer_all(connection, &answer)));
        }
    });
    Ok(())
}

/// A request of the loads has no content and fits into one reading, and the next one comes after the answer.
fn answer_all(mut connection: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 16 << 10];
    connection.set_nodelay(true)?;
    while connection.read(&mut request)? > 0 {
        connection.write_all(answer)?;
    }
    Ok(())
}

impl Tools {
    /// The 99th percentile of the time to answer at half of `rate`: through the proxy, and without it, in microseconds.
    pub(crate) fn delays(
        &self,
        case: Case,
        rate: f64,
        proxy: &Server,
        origin: &Server,
    ) -> Result<(u64, u64), Failure> {
        let Case::Proxy { version, .. } = case else {
            return Err(format!("{case} passes nothing on").into());
        };
        let rate = (rate / 2.0).max(1.0);
        let through = self.p99(case, version, rate, &format!("https://{}/", proxy.address()))?;
        let direct = format!("http://{}/", origin.address());
        Ok((through, self.p99(case, Version::Http1, rate, &direct)?))
    }

    fn p99(&self, case: Case, version: Version, rate: f64, url: &str) -> Result<u64, Failure> {
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]).arg(&self.sterna).args(["load", "--json", "--insecure"]);
        command.arg(match version {
            Version::Http1 => "--http1.1",
            Version::Http2 => "--http2",
            Version::Http3 => "--http3",
        });
        let (connections, streams) = case.in_flight(version);
        command.args(["--connections", &connections.to_string()]);
        command.args(["--streams", &streams.to_string(), "--rate", &format!("{rate:.0}")]);
        command.args(["--warmup", "1s", "--duration", "4s", url]);
        let report: Value = serde_json::from_str(&said(case, &mut command)?)?;
        let nanos = report["latency_ns"]["response"]["p99"].as_u64();
        nanos.map(|nanos| nanos / 1000).ok_or_else(|| format!("no p99 in {report}").into())
    }
}

/// Lines about how much later answers come; none where nothing was passed on.
pub(crate) fn delays(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| matches!(row.case, Case::Proxy { .. })) {
        for result in &row.results {
            let median = |key| result.median_of(key);
            let Some((through, direct)) = median("p99_us").zip(median("direct_p99_us")) else {
                continue;
            };
            let added = (through - direct) / 1000.0;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "- {}: {} {added:.2} ms ({:.2} less {:.2})",
                row.case,
                result.name,
                through / 1000.0,
                direct / 1000.0
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\nAdded to the 99th percentile, at half of the rate in the table:\n{text}")
}

impl Content {
    pub(crate) fn length(self) -> u64 {
        match self {
            Self::Small => 1 << 10,
            Self::Large => 1 << 20,
        }
    }
}

impl Case {
    /// Connections, and requests at once on each. As many requests are at the backend, and as many connections to it.
    pub(crate) fn in_flight(self, version: Version) -> (u32, u32) {
        let is_large = matches!(self, Self::Proxy { content: Content::Large, .. });
        match (is_large, version) {
            (false, Version::Http1) => (32, 1),
            (false, Version::Http2 | Version::Http3) => (10, 32),
            (true, Version::Http1) => (16, 1),
            (true, Version::Http2 | Version::Http3) => (4, 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_answers_every_request_of_a_connection_with_the_same_bytes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let serving = thread::spawn(move || answer_all(server, b"answer"));
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"answer");
        }
        drop(client);
        serving.join().unwrap().unwrap();
    }
}

//! The load: which program makes it, how it is called, and what it says.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::case::{BULK_FILE, BULK_LEN, Case, Content, SMALL_FILE, SMALL_LEN, Sample, Version};
use super::process;
use super::server::Server;

/// The programs that make loads.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// `bench/load`: HTTP/3, and no code in common with what it measures.
    pub(crate) load: PathBuf,
    /// `sterna load`: all versions.
    pub(crate) sterna: PathBuf,
    /// What OpenSSL reads, so that h2load offers the cipher and the key exchange that the others do.
    pub(crate) openssl: PathBuf,
}

/// Who makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loader {
    /// `bench/load` for HTTP/3, h2load for the older versions.
    Foreign,
    /// `sterna load`, for requests and handshakes.
    Sterna,
}

pub(crate) type Failure = Box<dyn std::error::Error>;

impl Tools {
    /// Runs the load of `case`, divided by `divisor`, against `server`.
    pub(crate) fn measure(
        &self,
        loader: Loader,
        case: Case,
        divisor: u32,
        server: &Server,
    ) -> Result<Sample, Failure> {
        let report = match (loader, case.version()) {
            (Loader::Sterna, version) => self.by_sterna(case, version, divisor, server)?,
            (Loader::Foreign, Version::Http3) => self.by_load(case, divisor, server)?,
            (Loader::Foreign, version) => self.by_h2load(case, version, divisor, server)?,
        };
        let resident_mib = process::resident_mib(&server.pids());
        let figure = case.figure(&report).ok_or_else(|| format!("no figure in {report}"))?;
        let number = |key: &str| report[key].as_f64().unwrap_or_default();
        let units = if case == Case::Bulk {
            number("body_bytes") / f64::from(1 << 30)
        } else {
            number("requests")
        };
        Ok(Sample { figure, rate: units / number("seconds"), resident_mib, report })
    }

    fn by_load(&self, case: Case, divisor: u32, server: &Server) -> Result<Value, Failure> {
        let mut command = pinned(case);
        command.arg(&self.load).args(arguments(case, divisor).split_whitespace());
        command.arg("--address").arg(server.address().to_string());
        for pid in server.pids() {
            command.arg("--server-pid").arg(pid.to_string());
        }
        let said = said(case, &mut command)?;
        Ok(serde_json::from_str(&said)?)
    }

    /// h2load warms up by a run of its own: its connections are new in the second, and ten handshakes are nothing there.
    fn by_h2load(
        &self,
        case: Case,
        version: Version,
        divisor: u32,
        server: &Server,
    ) -> Result<Value, Failure> {
        let (connections, streams) = match case {
            Case::Small { connections, streams, .. } => (connections, streams),
            Case::Proxy { .. } => case.in_flight(version),
            _ => return Err(format!("h2load cannot make the load of {case}").into()),
        };
        let (warm_up, requests) = counts(case, divisor);
        let run = |requests: u32| {
            let mut command = pinned(case);
            command.env("OPENSSL_CONF", &self.openssl).arg("h2load");
            if version == Version::Http1 {
                command.arg("--h1");
            }
            // Windows of 30 bits: a closed one would measure who announces it.
            command.args(["-t1", "-w30", "-W30", &format!("-c{connections}")]);
            command.args([&format!("-m{streams}"), &format!("-n{requests}")]);
            said(case, command.arg(format!("https://{}{SMALL_FILE}", server.address())))
        };
        run(warm_up)?;
        let pids = server.pids();
        let before = process::cpu_seconds(&pids);
        let said = run(requests)?;
        let after = process::cpu_seconds(&pids);
        read_h2load(&said, after - before)
            .ok_or_else(|| format!("h2load failed in {case}: {said}").into())
    }

    fn by_sterna(
        &self,
        case: Case,
        version: Version,
        divisor: u32,
        server: &Server,
    ) -> Result<Value, Failure> {
        let (mode, count) = match case {
            Case::Small { connections, streams, .. } => {
                (format!("--connections {connections} --streams {streams}"), REQUESTS)
            }
            Case::Proxy { .. } => {
                let (connections, streams) = case.in_flight(version);
                let (_, count) = counts(case, 1);
                (format!("--connections {connections} --streams {streams}"), count)
            }
            Case::Handshakes(_) => ("--preset hps".to_owned(), HANDSHAKES),
            _ => return Err(format!("`sterna load` does not make the load of {case}").into()),
        };
        let protocol = match version {
            Version::Http1 => "--http1.1",
            Version::Http2 => "--http2",
            Version::Http3 => "--http3",
        };
        let run = |count: u32| {
            let mut command = pinned(case);
            command.arg(&self.sterna).args(["load", "--json", "--insecure", protocol]);
            command.args(mode.split(' ')).args(["--requests", &count.to_string()]);
            said(case, command.arg(format!("https://{}{SMALL_FILE}", server.address())))
        };
        run(count / 10 / divisor)?;
        let pids = server.pids();
        let before = process::cpu_seconds(&pids);
        let said = run(count / divisor)?;
        let after = process::cpu_seconds(&pids);
        let report: Value = serde_json::from_str(&said)?;
        let kind = if matches!(case, Case::Handshakes(_)) { "handshakes" } else { "requests" };
        let done = &report[kind]["done"];
        if done.as_u64() != Some(u64::from(count / divisor)) {
            return Err(format!("`sterna load` failed in {case}: {said}").into());
        }
        let seconds = report["duration_ns"].as_f64().unwrap_or_default() / 1e9;
        Ok(json!({
            "requests": done, "seconds": seconds, "server_cpu_seconds": after - before,
            "sterna": report,
        }))
    }
}

/// The load has core 1, but for a server which has that too.
fn pinned(case: Case) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", if case == Case::Workers { "0,1" } else { "1" }]);
    command
}

/// What the program prints, if it succeeds.
pub(crate) fn said(case: Case, command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said =
        if stdout.is_empty() { String::from_utf8_lossy(&output.stderr).into() } else { stdout };
    Err(format!("the load failed in {case}: {said}").into())
}

/// Requests that do not count, and those that do.
fn counts(case: Case, divisor: u32) -> (u32, u32) {
    let (warm_up, requests) = match case {
        Case::Proxy { content: Content::Small, .. } => (WARM_UP / 2, REQUESTS / 2),
        Case::Proxy { content: Content::Large, .. } => (WARM_UP / 100, REQUESTS / 100),
        _ => (WARM_UP, REQUESTS),
    };
    (warm_up / divisor, requests / divisor)
}

/// The command line of `bench/load`.
fn arguments(case: Case, divisor: u32) -> String {
    let small = format!("--path {SMALL_FILE} --size {SMALL_LEN}");
    let (warmup, requests) = counts(case, divisor);
    match case {
        Case::Small { connections, streams, .. } => format!(
            "get {small} --connections {connections} --streams {streams} \
             --warmup {warmup} --requests {requests}"
        ),
        Case::Proxy { version, content } => {
            let (connections, streams) = case.in_flight(version);
            format!(
                "get --path {SMALL_FILE} --size {} --connections {connections} --streams {streams} \
                 --warmup {warmup} --requests {requests}",
                content.length()
            )
        }
        Case::Workers => format!(
            "get {small} --connections 20 --streams 32 --warmup {warmup} --requests {requests}"
        ),
        Case::Bulk => format!(
            "get --path {BULK_FILE} --size {BULK_LEN} --warmup 1 --requests {}",
            (BULK_FILES / divisor).max(2)
        ),
        Case::Handshakes(group) => format!(
            "handshake {small} --connections 8 --group {group} \
                 --warmup {} --handshakes {}",
            HANDSHAKES / 10 / divisor,
            HANDSHAKES / divisor
        ),
        Case::Held { streams } => format!("held {small} --streams {streams} --hold 1"),
        Case::Idle { connections } => {
            format!("idle {small} --connections {connections} --hold 2 --timeout 120")
        }
    }
}

/// What matters of h2load's words; `None` if a request has failed.
fn read_h2load(said: &str, cpu_seconds: f64) -> Option<Value> {
    let after = |label: &str| said.lines().find_map(|line| line.trim().strip_prefix(label));
    let requests = after("requests: ")?;
    let count = |word: &str| {
        let part = requests.split(", ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    let (total, succeeded) = (count("total")?, count("succeeded")?);
    let rate = after("finished in ")?.split(", ").nth(1)?.strip_suffix(" req/s")?;
    let rate: f64 = rate.parse().ok()?;
    let is_clean =
        total == succeeded && after("status codes: ")?.starts_with(&format!("{total} 2xx"));
    is_clean.then(|| {
        json!({
            "requests": total, "seconds": total as f64 / rate, "server_cpu_seconds": cpu_seconds,
            "cipher": after("Cipher: "), "application_protocol": after("Application protocol: "),
        })
    })
}

const REQUESTS: u32 = 200_000;
const WARM_UP: u32 = 20_000;
const HANDSHAKES: u32 = 2_000;
const BULK_FILES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2

finished in 2.00s, 1000.00 req/s, 1.37MB/s
requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn h2load_is_read() {
        let report = read_h2load(SAID, 0.5).unwrap();
        assert_eq!(report["requests"], 2000);
        assert_eq!(report["seconds"], 2.0);
        assert_eq!(report["cipher"], "TLS_AES_128_GCM_SHA256");
    }

    #[test]
    fn a_failed_request_or_another_status_is_no_measurement() {
        let failed = SAID.replace("2000 succeeded, 0 failed", "1999 succeeded, 1 failed");
        assert_eq!(read_h2load(&failed, 0.5), None);
        let refused = SAID.replace("2000 2xx, 0 3xx", "1990 2xx, 10 3xx");
        assert_eq!(read_h2load(&refused, 0.5), None);
    }

    #[test]
    fn a_slow_server_gets_less_work_but_never_none() {
        assert!(arguments(Case::SMALL[0], 10).contains("--requests 20000"));
        assert!(arguments(Case::Bulk, 10).contains("--requests 2"));
    }
}

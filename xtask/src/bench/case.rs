//! The work that is measured, and the figure that it gives.

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::contender::Server;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Requests of 1 KiB, `streams` in flight on each connection.
    Small { connections: u32, streams: u32 },
    /// Files of 64 MiB, one after the other on one connection.
    Bulk,
    /// Connections that have had one response each.
    Idle { connections: u32 },
}

/// One run of the load against one server.
pub(crate) struct Sample {
    /// In the unit of the case; less is better.
    pub(crate) figure: f64,
    /// All that the load has to say.
    pub(crate) report: Value,
}

impl Case {
    /// Many requests on few connections, within and at the limit of streams.
    pub(crate) const SMALL: [Self; 2] = [Self::small(10, 32), Self::small(10, 100)];
    pub(crate) const IDLE: Self = Self::Idle { connections: 1000 };
    /// What belongs in every report.
    pub(crate) const ALL: [Self; 4] = [Self::SMALL[0], Self::SMALL[1], Self::Bulk, Self::IDLE];
    /// Whether the cost of a request, and of a connection, is the same however many there are.
    pub(crate) const CURVE: [Self; 6] = [
        Self::small(1, 32),
        Self::small(10, 32),
        Self::small(100, 32),
        Self::small(1000, 32),
        Self::Idle { connections: 100 },
        Self::IDLE,
    ];

    const fn small(connections: u32, streams: u32) -> Self {
        Self::Small { connections, streams }
    }

    /// What a figure counts.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Small { .. } => "CPU s per 100,000 requests of 1 KiB",
            Self::Bulk => "CPU s per GiB",
            Self::Idle { .. } => "KiB per idle connection",
        }
    }

    /// Runs the load on core 1 against `server`.
    pub(crate) fn measure(
        self,
        load: &Path,
        server: &Server,
    ) -> Result<Sample, Box<dyn std::error::Error>> {
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]).arg(load).args(self.arguments().split_whitespace());
        command.arg("--address").arg(format!("127.0.0.1:{}", server.port));
        command.arg("--server-pid").arg(server.pid().to_string());
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(if output.stdout.is_empty() {
                &output.stderr
            } else {
                &output.stdout
            });
            return Err(format!("the load failed in {self}: {said}").into());
        }
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let figure = self.figure(&report).ok_or_else(|| format!("no figure in {report}"))?;
        Ok(Sample { figure, report })
    }

    fn arguments(self) -> String {
        match self {
            Self::Small { connections, streams } => format!(
                "get --path {SMALL_FILE} --size {SMALL_LEN} --connections {connections} \
                 --streams {streams} --warmup 20000 --requests 200000"
            ),
            Self::Bulk => {
                format!("get --path {BULK_FILE} --size {BULK_LEN} --warmup 1 --requests 16")
            }
            Self::Idle { connections } => format!(
                "idle --path {SMALL_FILE} --size {SMALL_LEN} --connections {connections} --hold 3"
            ),
        }
    }

    fn figure(self, report: &Value) -> Option<f64> {
        let number = |key: &str| report[key].as_f64();
        match self {
            Self::Small { .. } => {
                Some(number("server_cpu_seconds")? / number("requests")? * 100_000.0)
            }
            Self::Bulk => {
                let gibibytes = number("body_bytes")? / f64::from(1 << 30);
                Some(number("server_cpu_seconds")? / gibibytes)
            }
            Self::Idle { .. } => {
                let grown = number("server_rss_after_kib")? - number("server_rss_before_kib")?;
                Some(grown / number("connections")?)
            }
        }
    }
}

/// The case's name on the command line, in the table and of its JSON file.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small { connections, streams } => write!(f, "h3-small-{connections}x{streams}"),
            Self::Bulk => f.write_str("h3-bulk"),
            Self::Idle { connections } => write!(f, "h3-idle-{connections}"),
        }
    }
}

pub(crate) const SMALL_FILE: &str = "/1k.bin";
pub(crate) const SMALL_LEN: u64 = 1024;
pub(crate) const BULK_FILE: &str = "/64m.bin";
pub(crate) const BULK_LEN: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cpu_seconds_are_scaled_to_100_000_requests() {
        let report = json!({ "requests": 200_000, "server_cpu_seconds": 1.5 });
        assert_eq!(Case::small(10, 32).figure(&report), Some(0.75));
    }

    #[test]
    fn idle_memory_is_the_growth_by_connection() {
        let report = json!({
            "connections": 1000, "server_rss_before_kib": 9000, "server_rss_after_kib": 41_000
        });
        assert_eq!(Case::IDLE.figure(&report), Some(32.0));
    }

    #[test]
    fn a_report_without_the_servers_figures_gives_none() {
        assert_eq!(Case::Bulk.figure(&json!({ "body_bytes": 1 })), None);
    }
}

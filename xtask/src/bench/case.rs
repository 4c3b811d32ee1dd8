//! The work that is measured, and the figure that it gives.

use std::fmt;

use serde_json::Value;

use super::contender::Setting;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Requests of 1 KiB, `streams` in flight on each connection.
    Small { version: Version, connections: u32, streams: u32 },
    /// Files of 64 MiB, one after the other on one connection.
    Bulk,
    /// Full handshakes, each connection closed as soon as it stands.
    Handshakes(Group),
    /// Responses that cannot end, all on one connection.
    Held { streams: u32 },
    /// Connections that have had one response each.
    Idle { connections: u32 },
    /// `Small` by a server with two workers, beside one with one, both with all cores.
    Workers,
    /// Requests that are passed on to a backend by HTTP/1.1.
    Proxy { version: Version, content: Content },
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
    Http3,
}

/// What a backend answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// 1 KiB.
    Small,
    /// 1 MiB.
    Large,
}

/// A key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    X25519,
    /// Post-quantum, as browsers have it.
    X25519MlKem768,
}

/// One run of the load against one server.
pub(crate) struct Sample {
    /// In the unit of the case; less is better.
    pub(crate) figure: f64,
    /// Units of the work in each second, as far as the load was able to ask for them.
    pub(crate) rate: f64,
    /// Resident memory of the server at the end.
    pub(crate) resident_mib: f64,
    /// All that the load has to say.
    pub(crate) report: Value,
}

impl Case {
    /// Many requests on few connections.
    pub(crate) const SMALL: [Self; 2] = [Self::h3(10, 32), Self::h3(10, 100)];
    pub(crate) const HANDSHAKES: [Self; 2] =
        [Self::Handshakes(Group::X25519), Self::Handshakes(Group::X25519MlKem768)];
    /// By the older versions: those who serve HTTP/3 best may not be the best there.
    pub(crate) const HTTP2: Self =
        Self::Small { version: Version::Http2, connections: 10, streams: 32 };
    pub(crate) const HTTP1: Self =
        Self::Small { version: Version::Http1, connections: 32, streams: 1 };
    /// What one connection may have: requests, the same by HTTP/2, responses that wait.
    pub(crate) const STREAMS: [Self; 3] = [
        Self::h3(1, MANY_STREAMS),
        Self::Small { version: Version::Http2, connections: 1, streams: MANY_STREAMS },
        Self::Held { streams: MANY_STREAMS },
    ];
    pub(crate) const IDLE: Self = Self::Idle { connections: 1000 };
    pub(crate) const IDLE_MANY: Self = Self::Idle { connections: 10_000 };
    /// What belongs in every report.
    pub(crate) const ALL: [Self; 12] = [
        Self::SMALL[0],
        Self::SMALL[1],
        Self::Bulk,
        Self::HANDSHAKES[0],
        Self::HANDSHAKES[1],
        Self::HTTP2,
        Self::HTTP1,
        Self::STREAMS[0],
        Self::STREAMS[1],
        Self::STREAMS[2],
        Self::Workers,
        Self::IDLE,
    ];
    /// Whether the cost of a request, and of a connection, is the same however many there are.
    pub(crate) const CURVE: [Self; 8] = [
        Self::h3(1, 32),
        Self::h3(10, 32),
        Self::h3(100, 32),
        Self::h3(1000, 32),
        Self::Idle { connections: 1 },
        Self::Idle { connections: 10 },
        Self::Idle { connections: 100 },
        Self::IDLE,
    ];

    /// By every version, with little and with much content.
    pub(crate) const PROXY: [Self; 6] = [
        Self::Proxy { version: Version::Http3, content: Content::Small },
        Self::Proxy { version: Version::Http2, content: Content::Small },
        Self::Proxy { version: Version::Http1, content: Content::Small },
        Self::Proxy { version: Version::Http3, content: Content::Large },
        Self::Proxy { version: Version::Http2, content: Content::Large },
        Self::Proxy { version: Version::Http1, content: Content::Large },
    ];

    const fn h3(connections: u32, streams: u32) -> Self {
        Self::Small { version: Version::Http3, connections, streams }
    }

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Small { version, .. } | Self::Proxy { version, .. } => version,
            _ => Version::Http3,
        }
    }

    /// How the server is to be set up.
    pub(crate) fn setting(self) -> Setting {
        let streams = match self {
            Self::Small { streams, .. } | Self::Held { streams } => streams.max(USUAL_STREAMS),
            Self::Idle { .. } => LEAST_STREAMS,
            _ => USUAL_STREAMS,
        };
        let cores = if self == Self::Workers { "0,1" } else { "0" };
        Setting { workers: 1, streams, cores, origin: None }
    }

    /// What a figure counts.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Small { .. } | Self::Workers | Self::Proxy { content: Content::Small, .. } => {
                "CPU s per 100,000 requests"
            }
            Self::Bulk | Self::Proxy { content: Content::Large, .. } => "CPU s per GiB",
            Self::Handshakes(_) => "CPU ms per handshake",
            Self::Held { .. } => "KiB per open stream",
            Self::Idle { .. } => "KiB per idle connection",
        }
    }

    /// What the load reported, in this unit.
    pub(crate) fn figure(self, report: &Value) -> Option<f64> {
        let number = |key: &str| report[key].as_f64();
        let grown = || Some(number("server_rss_after_kib")? - number("server_rss_before_kib")?);
        match self {
            Self::Small { .. } | Self::Workers | Self::Proxy { content: Content::Small, .. } => {
                Some(number("server_cpu_seconds")? / number("requests")? * 100_000.0)
            }
            Self::Bulk => {
                let gibibytes = number("body_bytes")? / f64::from(1 << 30);
                Some(number("server_cpu_seconds")? / gibibytes)
            }
            Self::Proxy { content: Content::Large, .. } => {
                let gibibytes =
                    number("requests")? * Content::Large.length() as f64 / f64::from(1 << 30);
                Some(number("server_cpu_seconds")? / gibibytes)
            }
            Self::Handshakes(_) => {
                Some(number("server_cpu_seconds")? / number("requests")? * 1000.0)
            }
            Self::Held { streams } => Some(grown()? / f64::from(streams)),
            Self::Idle { connections } => Some(grown()? / f64::from(connections)),
        }
    }
}

/// The case's name on the command line, in the table and of its JSON file.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small { version, connections, streams } => {
                write!(f, "{version}-small-{connections}x{streams}")
            }
            Self::Bulk => f.write_str("h3-bulk"),
            Self::Handshakes(group) => write!(f, "h3-handshake-{group}"),
            Self::Held { streams } => write!(f, "h3-held-{streams}"),
            Self::Idle { connections } => write!(f, "h3-idle-{connections}"),
            Self::Workers => f.write_str("h3-workers"),
            Self::Proxy { version, content: Content::Small } => write!(f, "proxy-{version}-1k"),
            Self::Proxy { version, content: Content::Large } => write!(f, "proxy-{version}-1m"),
        }
    }
}

/// As the load has it.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X25519 => "x25519",
            Self::X25519MlKem768 => "x25519mlkem768",
        })
    }
}

/// As ALPN has it, but for the oldest.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "h1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        })
    }
}

pub(crate) const SMALL_FILE: &str = "/1k.bin";
pub(crate) const SMALL_LEN: u64 = 1024;
pub(crate) const BULK_FILE: &str = "/64m.bin";
pub(crate) const BULK_LEN: u64 = 64 << 20;

/// On one connection: what a page with everything at once never reaches, and a proxy behind it does.
const MANY_STREAMS: u32 = 10_000;

/// What servers allow without being told, more or less.
const USUAL_STREAMS: u32 = 128;

/// What RFC 9114 §6.1 asks for, and what quinn and Sterna allow without being told: both have an entry for each stream that
/// may be opened, in tables whose sizes are powers of two.
const LEAST_STREAMS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cpu_seconds_are_scaled_to_100_000_requests() {
        let report = json!({ "requests": 200_000, "server_cpu_seconds": 1.5 });
        assert_eq!(Case::SMALL[0].figure(&report), Some(0.75));
    }

    #[test]
    fn a_handshake_is_told_in_milliseconds() {
        let report = json!({ "requests": 2000, "server_cpu_seconds": 1.0 });
        assert_eq!(Case::HANDSHAKES[0].figure(&report), Some(0.5));
    }

    #[test]
    fn what_is_passed_on_is_counted_by_requests_or_by_gibibytes() {
        let report = json!({ "requests": 2048, "server_cpu_seconds": 4.0 });
        let [_, _, small, .., large] = Case::PROXY;
        assert_eq!(
            (small.to_string(), large.to_string()),
            ("proxy-h1-1k".into(), "proxy-h1-1m".into())
        );
        assert_eq!(small.figure(&report), Some(195.3125));
        assert_eq!(large.figure(&report), Some(2.0));
    }

    #[test]
    fn memory_is_the_growth_by_connection_or_by_stream() {
        let report = json!({ "server_rss_before_kib": 9000, "server_rss_after_kib": 41_000 });
        assert_eq!(Case::IDLE.figure(&report), Some(32.0));
        assert_eq!(Case::STREAMS[2].figure(&report), Some(3.2));
    }

    #[test]
    fn a_report_without_the_servers_figures_gives_none() {
        assert_eq!(Case::Bulk.figure(&json!({ "body_bytes": 1 })), None);
    }

    #[test]
    fn only_the_cases_with_many_streams_ask_for_more_than_usual() {
        assert!(Case::STREAMS.iter().all(|case| case.setting().streams == MANY_STREAMS));
        assert_eq!(Case::SMALL[1].setting().streams, USUAL_STREAMS);
    }
}

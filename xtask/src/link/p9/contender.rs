//! Who takes part: a version of HTTP, a server, and a congestion controller.

use std::fs;
use std::path::Path;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// For `sterna get` and `sterna load`.
    pub(super) version: &'static str,
    /// Connections that a browser would open for a page.
    pub(super) connections: u32,
    pub(super) port: u16,
    pub(super) congestion: Congestion,
}

/// Whose congestion control sends the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// Sterna's, with the window that a path begins with.
    Ours {
        name: &'static str,
        window: Option<&'static str>,
    },
    Kernel,
    Nginx,
}

impl Contender {
    pub(super) fn is_ours(&self) -> bool {
        !self.name.starts_with("nginx")
    }
}

const fn quic(name: &'static str, port: u16, congestion: Congestion) -> Contender {
    Contender { name, version: "--http3", connections: 1, port, congestion }
}

const fn tcp(name: &'static str, version: &'static str, connections: u32, port: u16) -> Contender {
    Contender { name, version, connections, port, congestion: Congestion::Kernel }
}

const fn ours(name: &'static str, window: Option<&'static str>) -> Congestion {
    Congestion::Ours { name, window }
}

pub(super) const CONTENDERS: [Contender; 8] = [
    quic("HTTP/3 cubic", 4431, ours("cubic", None)),
    quic("HTTP/3 bbr", 4432, ours("bbr", None)),
    quic("HTTP/3 bbr, 32 KiB first", 4433, ours("bbr", Some("32KiB"))),
    quic("HTTP/3 reno", LAST_PORT, ours("reno", None)),
    tcp("HTTP/2", "--http2", 1, LAST_PORT),
    tcp("HTTP/1.1", "--http1.1", 6, LAST_PORT),
    quic("nginx HTTP/3", NGINX_PORT, Congestion::Nginx),
    tcp("nginx HTTP/2", "--http2", 1, NGINX_PORT),
];

/// Of Sterna: it is ready when this one takes connections.
pub(super) const LAST_PORT: u16 = 4434;
const NGINX_PORT: u16 = 4440;

/// Writes what the servers read, and the script that starts them.
pub(super) fn configure(folder: &Path, sterna: &Path, nginx: Option<&Path>) -> std::io::Result<()> {
    fs::write(folder.join("sterna.toml"), sterna_toml())?;
    let template = include_str!("../../../../bench/peers/p9-nginx.conf");
    let conf = template.replace("@ADDRESS@", ADDRESS).replace("@PORT@", &NGINX_PORT.to_string());
    fs::write(folder.join("nginx.conf"), conf)?;
    let nginx = nginx.map_or(String::new(), |program| {
        format!("'{}' -p \"$PWD\" -c \"$PWD/nginx.conf\" 2>nginx.log &\n", program.display())
    });
    let script = format!(
        "cat /proc/sys/net/ipv4/tcp_congestion_control >tcp-a\n{nginx}exec '{}' run -c sterna.toml 2>sterna.log\n",
        sterna.display()
    );
    fs::write(folder.join("serve.sh"), script)
}

/// A port for each of our controllers.
fn sterna_toml() -> String {
    let (mut places, mut listeners) = (Vec::new(), String::new());
    for contender in &CONTENDERS {
        if let Congestion::Ours { name, window } = contender.congestion {
            let place = format!("{ADDRESS}:{}", contender.port);
            listeners.push_str(&format!("[quic.listener.\"{place}\"]\ncongestion = \"{name}\"\n"));
            if let Some(window) = window {
                listeners.push_str(&format!("initial_window = \"{window}\"\n"));
            }
            places.push(format!("\"{place}\""));
        }
    }
    format!(
        "listen = [{}]\nhttp = \"off\"\nworkers = 1\naccess_log = false\nadmin = {{ listen = \"off\" }}\n{listeners}\
         [defaults]\ntls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n[[site]]\nroot = \"site\"\n",
        places.join(", ")
    )
}

/// Of the end `a` of every link.
pub(super) const ADDRESS: &str = "10.77.0.1";

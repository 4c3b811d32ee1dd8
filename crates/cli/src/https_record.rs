//! The DNS records by which clients know of HTTP/3 before their first visit (RFC 9460).

use sterna_gateway::config::{Listen, Model};
use sterna_gateway::route::host::Pattern;

/// One record for each host of `model` that the public DNS can have, as a line of a zone file.
pub(crate) fn records(model: &Model) -> Vec<String> {
    // The port that clients see is the same for TCP and UDP wherever it is another than ours.
    let port = model.alt_svc.port.or_else(|| model.listen.first().map(Listen::port));
    let (true, Some(port)) = (model.http3, port) else { return Vec::new() };
    let hosts = model.site.iter().flat_map(|site| &site.host.0);
    // A star stands for names only where it is the first label (RFC 4592 §2.1.1), and not behind that of a port.
    let can_be = |host: &&Pattern| port == 443 || !matches!(host, Pattern::Wildcard(_));
    hosts
        .filter(|host| is_public(host))
        .filter(can_be)
        .map(|host| record(&host.to_string(), port))
        .collect()
}

/// A site on another port than 443 has a record under a name of its own, which leads to the host (RFC 9460 §9.1).
fn record(host: &str, port: u16) -> String {
    match port {
        443 => format!("{host}. 3600 IN HTTPS 1 . alpn=\"h3,h2\""),
        _ => format!("_{port}._https.{host}. 3600 IN HTTPS 1 {host}. alpn=\"h3,h2\""),
    }
}

fn is_public(host: &Pattern) -> bool {
    let name = match host {
        Pattern::Any => return false,
        Pattern::Exact(name) | Pattern::Wildcard(name) => name,
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    // An address has no record, and what ends in `localhost` never leaves the machine (RFC 6761 §6.3).
    let is_address = name.contains(':') || last.bytes().all(|byte| byte.is_ascii_digit());
    name.contains('.') && !is_address && last != "localhost"
}

#[cfg(test)]
mod tests {
    use sterna_gateway::config::{Environment, Loaded};

    use super::*;

    fn records_of(text: &str) -> Vec<String> {
        let loaded = Loaded::of_text("sterna.toml", text, &Environment::empty());
        records(&loaded.model().unwrap_or_else(|problems| panic!("{problems}")))
    }

    #[test]
    fn each_public_host_has_a_record() {
        let hosts = r#"["example.com", "*.example.com", "localhost", "app.localhost", "192.0.2.1", "[::1]", "nas"]"#;
        let text = format!("listen = [\":443\"]\n[[site]]\nhost = {hosts}\nrespond = \"hello\"");
        assert_eq!(
            records_of(&text),
            [
                "example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"",
                "*.example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"",
            ]
        );
    }

    #[test]
    fn another_port_is_part_of_the_name_and_that_which_clients_see_counts() {
        let site = "\n[[site]]\nhost = \"example.com\"\nrespond = \"hello\"";
        let wild = site.replace("example.com", "*.example.com");
        assert_eq!(
            records_of(&format!("listen = [\":8443\"]{site}{wild}")),
            ["_8443._https.example.com. 3600 IN HTTPS 1 example.com. alpn=\"h3,h2\""]
        );
        let outside = format!("listen = [\":8443\"]\nalt_svc = {{ port = 443 }}{site}");
        assert_eq!(records_of(&outside), ["example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\""]);
    }

    #[test]
    fn without_http3_and_for_every_host_there_is_nothing_to_publish() {
        let off = "http3 = false\n[[site]]\nhost = \"example.com\"\nrespond = \"hello\"";
        assert_eq!(records_of(off), Vec::<String>::new());
        assert_eq!(records_of("[[site]]\nrespond = \"hello\""), Vec::<String>::new());
    }
}

//! Whether the machine is ready for a configuration: tried, and undone at once.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::resource::{Resource, getrlimit};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sterna_gateway::config::Built;
use sterna_gateway::route::host;
use sterna_net::{Server, ServerTls};
use x509_parser::prelude::{FromDer, X509Certificate};

mod acme;

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    what: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// The configuration cannot be served so.
    Error,
    /// It can, but not as well as it should.
    Warning,
}

impl Finding {
    fn error(what: impl fmt::Display) -> Self {
        Self { weight: Weight::Error, what: what.to_string() }
    }

    fn warning(what: impl fmt::Display) -> Self {
        Self { weight: Weight::Warning, what: what.to_string() }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        serde_json::json!({ "severity": weight, "message": self.what })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            Weight::Error => write!(f, "error: {}", self.what),
            Weight::Warning => write!(f, "warning: {}", self.what),
        }
    }
}

/// Everything that would keep `built` from being served well. That the files are sound has been checked before, and that
/// each key belongs to its certificate.
pub(crate) fn findings(built: &Built) -> Vec<Finding> {
    let mut findings = listen(built);
    let certificates: BTreeSet<&Path> =
        built.certificates.iter().filter_map(|site| Some(site.tls.as_ref()?.0.as_path())).collect();
    for path in certificates {
        findings.extend(certificate(path, SystemTime::now()));
    }
    findings.extend(acme::findings(&built.model));
    findings.extend(names(built));
    findings.extend(open_files(built));
    findings
}

/// Binds every address with TCP and UDP, and lets go of it.
fn listen(built: &Built) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warnings = BTreeSet::new();
    for listen in &built.model.listen {
        let addresses = match listen.resolve() {
            Ok(addresses) => addresses,
            Err(error) => {
                findings.push(Finding::error(error));
                continue;
            }
        };
        for address in addresses {
            let builder = Server::builder().listen(address).workers(1).config(built.server.clone());
            match builder.tls(any_certificate(built)).bind() {
                Ok(bound) => warnings.extend(bound.warnings().iter().cloned()),
                Err(error) => findings.push(Finding::error(error)),
            }
        }
    }
    findings.extend(warnings.into_iter().map(Finding::warning));
    findings
}

/// One that makes the server want UDP: which one it is does not matter.
fn any_certificate(built: &Built) -> Option<ServerTls> {
    let of_site = built.certificates.iter().find_map(|site| Some(site.tls.as_ref()?.1.clone()));
    of_site.or_else(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).ok()?;
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        ServerTls::from_der(vec![made.cert.der().clone()], key.into()).ok()
    })
}

/// Whether the certificates of a file are valid now and for some time.
fn certificate(path: &Path, now: SystemTime) -> Vec<Finding> {
    let path_shown = path.display();
    let chain = CertificateDer::pem_file_iter(path).into_iter().flatten().flatten();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let judge = |der: CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let validity = certificate.validity();
        let seconds =
            |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let (from, until) = (seconds(validity.not_before), seconds(validity.not_after));
        if until < now {
            let ended = validity.not_after;
            return Some(Finding::error(format!(
                "{path_shown}: the certificate expired on {ended}: renew it"
            )));
        }
        if from > now {
            let begins = validity.not_before;
            return Some(Finding::error(format!(
                "{path_shown}: the certificate is valid from {begins} on: wait, or mend the clock"
            )));
        }
        (until - now < SOON.as_secs()).then(|| {
            let ends = validity.not_after;
            Finding::warning(format!(
                "{path_shown}: the certificate expires on {ends}: renew it soon"
            ))
        })
    };
    chain.filter_map(judge).collect()
}

/// Asks the resolver for the name of each site: a site that nobody finds is served to nobody.
fn names(built: &Built) -> Vec<Finding> {
    let hosts = built.model.site.iter().flat_map(|site| &site.host.0);
    let names: Vec<String> = hosts
        .filter_map(|host| match host {
            host::Pattern::Exact(name)
                if name.parse::<IpAddr>().is_err() && !name.starts_with('[') =>
            {
                Some(name.clone())
            }
            _ => None,
        })
        .collect();
    let (answer, answers) = mpsc::channel();
    for name in names.iter().take(MAX_LOOKUPS).cloned() {
        let answer = answer.clone();
        // Not waited for longer than below: a resolver may take its time.
        let _ = thread::Builder::new().spawn(move || {
            let found = (name.as_str(), 443)
                .to_socket_addrs()
                .is_ok_and(|mut found| found.next().is_some());
            let _ = answer.send((name, found));
        });
    }
    drop(answer);
    let deadline = Instant::now() + LOOKUP;
    let mut unknown: BTreeSet<String> = names.into_iter().take(MAX_LOOKUPS).collect();
    while let Ok((name, found)) =
        answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        if found {
            unknown.remove(&name);
        }
    }
    let told = |name| {
        Finding::warning(format!("{name} has no address in DNS: clients will not find the site"))
    };
    unknown.into_iter().map(told).collect()
}

/// Whether every connection that may come has a file descriptor.
fn open_files(built: &Built) -> Option<Finding> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let workers = built.model.workers.map_or_else(
        || thread::available_parallelism().map_or(1, usize::from),
        std::num::NonZeroUsize::get,
    );
    let wanted = u64::from(built.model.limits.tcp_connections)
        .saturating_mul(workers as u64)
        .saturating_add(FILES_BESIDE);
    (most < wanted).then(|| {
        Finding::warning(format!(
            "{workers} workers with {} TCP connections each want {wanted} open files, and the limit is {most}: \
             raise it (`ulimit -Hn`, `LimitNOFILE=`), or lower `limits.tcp_connections`",
            built.model.limits.tcp_connections
        ))
    })
}

/// Time to renew a certificate by hand.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// How long the resolver may take for all names together.
const LOOKUP: Duration = Duration::from_secs(5);

/// Names that are asked for; each is a thread while it lasts.
const MAX_LOOKUPS: usize = 64;

/// Listeners, files being served, and what the process itself has open.
const FILES_BESIDE: u64 = 1000;

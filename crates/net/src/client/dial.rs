//! One attempt to connect, over TCP or QUIC, on real sockets: what a race for a connection starts.

use std::{io, sync::Arc};

use super::{
    Error,
    config::Config,
    connect::{Attempt, Blame, Dial},
    connection::Established,
    driver::Driver,
    error::Kind,
    race::{Cause, Proof, Transport},
    tcp,
    tls::Tls,
};
use crate::Protocol;

/// Makes attempts for one origin.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    pub(crate) config: Arc<Config>,
    pub(crate) tls: Tls,
    pub(crate) driver: Driver,
    /// With TLS over TCP; QUIC has it always.
    pub(crate) is_secure: bool,
}

impl Dial for Dialler {
    type Connection = Established;
    type Error = Error;

    fn proof(connection: &Established) -> Proof {
        let info = &connection.info;
        match (info.protocol, &info.tls) {
            // What TLS agreed on is known when the handshake is complete.
            (Protocol::Http3, None) => Proof::Early,
            _ => Proof::Complete(info.rtt),
        }
    }

    fn dial(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Established, Error>> + Send + 'static {
        let Self { config, driver, .. } = self.clone();
        let mut attempt = attempt;
        if let Some(name) = &config.server_name {
            attempt.server_name.clone_from(name);
        }
        let tls = self.is_secure.then(|| self.tls.of_tcp(attempt.versions).clone());
        async move {
            match attempt.transport {
                Transport::Quic => driver.connect(attempt).await,
                Transport::Tcp => tcp::connect(attempt, tls, &config).await,
            }
        }
    }
}

impl Blame for Error {
    fn cause(&self) -> Cause {
        match self.kind() {
            Kind::Refused => Cause::Refused,
            Kind::Timeout => Cause::TimedOut,
            Kind::Certificate | Kind::Alpn | Kind::Tls | Kind::TlsAlert => Cause::Tls,
            // There is a server, and it is willing: over TCP.
            Kind::QuicVersion => Cause::Protocol,
            Kind::Unreachable => match self.io() {
                Some(error) => Cause::of_io(error),
                None => Cause::Unreachable,
            },
            Kind::Lost | Kind::Truncated | Kind::GoAway | Kind::Reset { .. } => Cause::Closed,
            Kind::Protocol { .. } | Kind::Malformed | Kind::HeadersTooLarge => Cause::Protocol,
            Kind::Request
            | Kind::RequestBody
            | Kind::Dns
            | Kind::ContentLength
            | Kind::Overloaded
            | Kind::Closed
            | Kind::System => Cause::Local,
        }
    }
}

impl Error {
    fn io(&self) -> Option<&io::Error> {
        std::error::Error::source(self)?.downcast_ref()
    }
}

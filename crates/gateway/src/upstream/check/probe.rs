//! One question to one backend.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use sterna_net::client::{self, BuildError, Versions};
use sterna_net::{Body, Client};

use super::{Config, HttpProbe, MOST_BODY, Probe, grpc};
use crate::upstream::backend::Identity;
use crate::upstream::{Place, Scheme};

/// Why a backend is not well.
#[derive(Debug, thiserror::Error)]
pub(in crate::upstream) enum Failure {
    #[error("it did not answer within {0:?}")]
    Late(Duration),
    #[error("nothing can be connected to it")]
    Connect(#[source] io::Error),
    #[error("the request failed")]
    Request(#[source] client::Error),
    #[error("the response broke off")]
    Content(#[source] sterna_net::BoxError),
    #[error("the status is {0}")]
    Status(StatusCode),
    #[error("the content does not have in it what it must")]
    Text,
    #[error("gRPC says status {0}")]
    GrpcStatus(String),
    #[error(transparent)]
    NotServing(#[from] grpc::NotServing),
    #[error("no client can be made for it")]
    Client(#[from] BuildError),
    #[error("its address cannot be asked this")]
    Address,
}

/// Who asks one backend. Its connection is kept from one check to the next, as the requests' are.
pub(in crate::upstream) struct Prober {
    client: Option<Client>,
    identity: Identity,
}

impl Prober {
    /// For checks of this backend.
    ///
    /// # Errors
    /// When the client cannot be made.
    ///
    /// # Panics
    /// Outside of a `LocalSet` of tokio.
    pub(in crate::upstream) fn new(
        config: &Config,
        identity: &Identity,
    ) -> Result<Self, BuildError> {
        let only_http3 = matches!(&config.probe, Probe::Http(http) if http.only_http3);
        let versions = match identity.address.scheme {
            Scheme::Http => Versions::ONLY_H1,
            Scheme::H2c => Versions::ONLY_H2,
            Scheme::Https => Versions::ALL.without_h3(),
            Scheme::H3 if only_http3 => Versions::ONLY_H3,
            Scheme::H3 => Versions::ALL,
        };
        let builder = config.asker.builder.clone().versions(versions);
        let builder = builder.retries(0).watch_network(false).key_log(false);
        let builder = match (&identity.address.place, identity.socket) {
            (_, Some(socket)) => builder.connect_to(socket.ip().to_string(), socket.port()),
            (Place::Unix(path), None) => builder.unix_socket(path),
            (Place::Net { .. }, None) => builder,
        };
        let client = match config.probe {
            Probe::Tcp => None,
            Probe::Http(_) | Probe::Grpc { .. } => Some(builder.build_local()?),
        };
        Ok(Self { client, identity: identity.clone() })
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why the backend is not well.
    ///
    /// # Cancel safety
    /// Dropping the future gives the question up.
    pub(in crate::upstream) async fn ask(&self, config: &Config) -> Result<(), Failure> {
        let asked = async {
            match &config.probe {
                Probe::Http(probe) => self.http(probe).await,
                Probe::Tcp => self.tcp().await,
                Probe::Grpc { service } => self.grpc(service).await,
            }
        };
        let answer = tokio::time::timeout(config.timeout, asked).await;
        answer.unwrap_or(Err(Failure::Late(config.timeout)))
    }

    async fn http(&self, probe: &HttpProbe) -> Result<(), Failure> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri(probe.path.clone())?;
        if let Some(host) = &probe.host {
            let host = HeaderValue::from_str(host.as_str()).map_err(|_| Failure::Address)?;
            request.headers_mut().insert(HOST, host);
        }
        let response = self.send(request).await?;
        let (status, (least, most)) = (response.status(), probe.status);
        if !(least..=most).contains(&status.as_u16()) {
            return Err(Failure::Status(status));
        }
        let Some(wanted) = &probe.body else { return Ok(()) };
        let (content, _) = read(response).await?;
        let is_there = content.windows(wanted.len().max(1)).any(|part| part == wanted.as_bytes());
        if is_there || wanted.is_empty() { Ok(()) } else { Err(Failure::Text) }
    }

    async fn grpc(&self, service: &str) -> Result<(), Failure> {
        let mut request = Request::new(Body::full(grpc::request(service)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri(PathAndQuery::from_static(grpc::PATH))?;
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        // An error without a message comes in the head, anything else in the trailers.
        let in_head = response.headers().get(GRPC_STATUS).cloned();
        let (content, trailers) = read(response).await?;
        let status = in_head.or_else(|| trailers?.get(GRPC_STATUS).cloned());
        match status.as_ref().map(HeaderValue::as_bytes) {
            Some(b"0") => Ok(grpc::response(&content)?),
            Some(other) => Err(Failure::GrpcStatus(String::from_utf8_lossy(other).into_owned())),
            None => Err(Failure::GrpcStatus("nothing".to_owned())),
        }
    }

    async fn tcp(&self) -> Result<(), Failure> {
        match (&self.identity.address.place, self.identity.socket) {
            (_, Some(socket)) => connect(socket).await,
            (Place::Net { host, port }, None) => {
                let connected = tokio::net::TcpStream::connect((host.as_str(), *port)).await;
                connected.map(drop).map_err(Failure::Connect)
            }
            (Place::Unix(path), None) => {
                let connected = tokio::net::UnixStream::connect(path).await;
                connected.map(drop).map_err(Failure::Connect)
            }
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, Failure> {
        let Some(client) = &self.client else { return Err(Failure::Address) };
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("sterna-health-check"));
        client.send(request).await.map_err(Failure::Request)
    }

    fn uri(&self, path: PathAndQuery) -> Result<Uri, Failure> {
        let address = &self.identity.address;
        let scheme = match address.scheme {
            Scheme::Http | Scheme::H2c => "http",
            Scheme::Https | Scheme::H3 => "https",
        };
        let authority = match &address.place {
            Place::Net { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Net { host, port } => format!("{host}:{port}"),
            // It has a path and no name.
            Place::Unix(_) => "localhost".to_owned(),
        };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        uri.map_err(|_| Failure::Address)
    }
}

async fn connect(socket: SocketAddr) -> Result<(), Failure> {
    tokio::net::TcpStream::connect(socket).await.map(drop).map_err(Failure::Connect)
}

/// The beginning of the content, and the trailers if its end was reached.
async fn read(response: Response<Body>) -> Result<(Bytes, Option<HeaderMap>), Failure> {
    let (mut body, mut content) = (response.into_body(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| Failure::Content(error.into()))?.into_data() {
            Ok(data) => {
                let room = MOST_BODY - content.len();
                content.extend_from_slice(data.get(..room).unwrap_or(&data));
                if content.len() == MOST_BODY {
                    break;
                }
            }
            Err(frame) => return Ok((content.freeze(), frame.into_trailers().ok())),
        }
    }
    Ok((content.freeze(), None))
}

const GRPC_STATUS: &str = "grpc-status";

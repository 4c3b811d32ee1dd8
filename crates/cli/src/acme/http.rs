//! How an authority is talked to: with our own client, over TCP.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use sterna_net::client::{BuildError, Roots, Versions};
use sterna_net::{Body, Client};

/// A client for one authority.
pub(super) struct Http(Client);

impl Http {
    /// Which trusts these roots alone, or those of the system.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, BuildError> {
        let roots = ca.map(Roots::from_pem_file).transpose()?.unwrap_or_default();
        let builder = Client::builder().versions(Versions::ALL.without_h3()).roots(roots);
        Ok(Self(builder.build()?))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let other = |error: sterna_net::BoxError| Error::Other(error);
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await.map(|body| body.to_bytes());
            let request = Request::from_parts(parts, Body::full(body));
            let response = client.send(request).await.map_err(|error| other(error.into()))?;
            let (parts, body) = response.into_parts();
            let content = Limited::new(body, MAX_SIZE).collect().await.map_err(other)?;
            Ok(BytesResponse { parts, body: Box::new(content.to_bytes()) })
        })
    }
}

/// Of an answer, in bytes.
const MAX_SIZE: usize = 1 << 20;

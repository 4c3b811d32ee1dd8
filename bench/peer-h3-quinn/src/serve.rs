//! One task for each connection and one for each request, as the examples of h3 have it.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use h3::server::RequestResolver;
use http::{Response, StatusCode, header};

use crate::files::Files;

/// Serves a connection until it ends.
pub(crate) async fn connection(incoming: quinn::Incoming, files: Arc<Files>) {
    let Ok(connection) = incoming.await else { return };
    let built = h3::server::builder()
        .send_grease(false)
        .build::<_, Bytes>(h3_quinn::Connection::new(connection))
        .await;
    let Ok(mut connection) = built else { return };
    while let Ok(Some(resolver)) = connection.accept().await {
        let files = files.clone();
        tokio::spawn(async move {
            // The client went away or broke the protocol: nothing to answer.
            let _ = request(resolver, &files).await;
        });
    }
}

async fn request(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    files: &Files,
) -> Result<(), Box<dyn Error>> {
    let (request, mut stream) = resolver.resolve_request().await?;
    // To its end: dropping an unfinished request would send STOP_SENDING.
    while stream.recv_data().await?.is_some() {}

    let Some(body) = files.get(request.uri().path()) else {
        let response = Response::builder().status(StatusCode::NOT_FOUND).body(())?;
        stream.send_response(response).await?;
        return Ok(stream.finish().await?);
    };
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, body.len())
        .body(())?;
    stream.send_response(response).await?;
    stream.send_data(body.clone()).await?;
    Ok(stream.finish().await?)
}

//! What the gateway adds to a request: its route found, fields set, a text of 1 KiB answered. Made to be counted:
//!
//! ```text
//! cargo build --release -p sterna-gateway --example cost
//! valgrind --tool=callgrind --toggle-collect='*answer_one*' target/release/examples/cost 2000
//! ```
//! `answer_one` is all from the request to the last byte of the response's content: without an access log, or with one when
//! `log` follows the number, and with fields of a choice when `fields` does. Divide the instructions by the number of requests. Not a file: valgrind 3.19 does not know `openat2`, by which they are opened.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use sterna_gateway::access_log::{AccessLog, Field, Format, Layout};
use sterna_gateway::handler::{self, respond};
use sterna_gateway::middleware::{self, headers};
use sterna_gateway::route::{self, Pattern};
use sterna_gateway::{Config, Gateway, Request, Shared};

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = env::args().nth(1).as_deref().unwrap_or("2000").parse()?;
    let log = match env::args().nth(2).as_deref() {
        None => None,
        Some("log") => Some(AccessLog::start(Format::Text, io::sink())?),
        Some("fields") => {
            let fields = [Field::Time, Field::Host, Field::Route, Field::Status, Field::UserAgent];
            Some(AccessLog::start(Layout::new(Format::Json, &fields), io::sink())?)
        }
        Some(other) => return Err(format!("`log` or `fields`, not `{other}`").into()),
    };
    let recorder = log.as_ref().map(|log| log.recorders().make());
    let gateway = Gateway::new(&config()?, &Shared::default(), recorder);
    let mut bytes = 0;
    for _ in 0..count {
        bytes += answer_one(&gateway, black_box(request()?)).ok_or("an answer that waits")?;
    }
    println!("{count} requests, {bytes} bytes in all");
    Ok(())
}

/// The gateway's part of one exchange; `None` if it had to wait.
#[inline(never)]
fn answer_one(gateway: &Gateway, mut request: Request) -> Option<usize> {
    let answer = pin!(async {
        let response = gateway.handle(&mut request).await;
        response.into_body().collect().await.map_or(0, |content| content.to_bytes().len())
    });
    match answer.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(length) => Some(length),
        Poll::Pending => None,
    }
}

/// A site with some routes beside the one that is taken.
fn config() -> Result<Config, Box<dyn Error>> {
    let field =
        (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY").into());
    let response = headers::Edit { set: vec![field], ..headers::Edit::default() };
    let fields = headers::Config { response, ..headers::Config::default() };
    let route = |path: &str| {
        let path = path.parse::<Pattern>().map_err(|error| error.to_string())?;
        let text = handler::Config::Respond(respond::Config::text(PAGE));
        let middleware = vec![middleware::Config::Headers(fields.clone())];
        Ok::<_, String>(route::Config { middleware, ..route::Config::new(path, text) })
    };
    let routes = ["/*", "/api/*", "/api/v1/users/{id}", "/assets/*", "/healthz"];
    let routes = routes.into_iter().map(route).collect::<Result<_, _>>()?;
    Ok(Config { routes, ..Config::default() })
}

/// What a browser sends.
fn request() -> http::Result<Request> {
    http::Request::builder()
        .uri("https://www.example.org/assets/page.html")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0")
        .header("accept", "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-US,en;q=0.9")
        .body(sterna_net::Body::empty())
}

const PAGE: &str = match std::str::from_utf8(&[b'x'; 1024]) {
    Ok(page) => page,
    Err(_) => "",
};

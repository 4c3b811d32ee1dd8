//! What passing a request on costs: its route and backend found, sent over HTTP/1.1, answered with 1 KiB. Made to be counted:
//!
//! ```text
//! cargo build --release -p sterna-gateway --example cost_proxy
//! valgrind --tool=callgrind target/release/examples/cost_proxy 1000
//! ```
//! Two runs of different length leave what one request costs: the gateway, the client and its connection, and the backend,
//! which does next to nothing. `log` after the number keeps an access log, `compress` has that station on the way,
//! `backends N` chooses among so many, `pick N` does nothing but choose, `routes N` does nothing but find one of so many.
//! Allocations are counted too, in the second half of the requests. `routes` takes a multiple of ten.

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use http_body_util::BodyExt;
use sterna_gateway::access_log::{AccessLog, Format};
use sterna_gateway::handler::{self, proxy, respond};
use sterna_gateway::middleware::{self, compress};
use sterna_gateway::route::{self, Pattern};
use sterna_gateway::upstream::{self, Address, Outcome, Upstream, Wanted};
use sterna_gateway::{Config, Gateway, Request, Shared};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let count: usize = words.first().unwrap_or(&"1000").parse()?;
    match words.get(1..).unwrap_or_default() {
        ["pick", number] => pick(count, number.parse()?),
        ["routes", number] => find(count, number.parse()?),
        [] => pass(count, 1, None, false),
        ["log"] => pass(count, 1, Some(&AccessLog::start(Format::Text, io::sink())?), false),
        ["compress"] => pass(count, 1, None, true),
        ["backends", number] => pass(count, number.parse()?, None, false),
        other => Err(format!("not a work: {other:?}").into()),
    }
}

/// Whole requests, one after the other.
fn pass(
    count: usize,
    backends: usize,
    log: Option<&AccessLog>,
    compress: bool,
) -> Result<(), Failure> {
    let backends = (0..backends).map(|_| Ok(address(serve()?))).collect::<io::Result<Vec<_>>>()?;
    let proxy = proxy::Config::new(upstream::Config::new(backends))?;
    let mut route = route::Config::new(Pattern::any(), handler::Config::Proxy(Box::new(proxy)));
    if compress {
        route.middleware.push(middleware::Config::Compress(compress::Config::default()));
    }
    let config = Config { routes: vec![route], ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The client of a worker lives on its thread.
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = log.map(|log| log.recorders().make());
        let gateway = Gateway::new(&config, &Shared::default(), recorder);
        let (mut bytes, mut before) = (0, 0);
        for number in 0..count {
            if number == count / 2 {
                before = ALLOCATIONS.load(Relaxed);
            }
            let mut request = black_box(request(number)?);
            let response = gateway.handle(&mut request).await;
            if response.status() != http::StatusCode::OK {
                return Err(format!("status {}", response.status()).into());
            }
            bytes += response.into_body().collect().await?.to_bytes().len();
        }
        let allocations = ALLOCATIONS.load(Relaxed) - before;
        let of_one = allocations as f64 / (count - count / 2).max(1) as f64;
        println!("{count} requests, {bytes} bytes, {of_one:.2} allocations for each, with the request itself");
        Ok(())
    })
}

/// A choice of a backend and its end.
fn pick(count: usize, backends: usize) -> Result<(), Failure> {
    let number = u8::try_from(backends)?;
    let addresses = (0..number).map(|last| address(SocketAddr::from(([192, 0, 2, last], 80))));
    let upstream = Upstream::new(&upstream::Config::new(addresses));
    let headers = http::HeaderMap::new();
    let wanted = Wanted { client: None, headers: &headers };
    for _ in 0..count {
        let now = Instant::now();
        let pick = upstream.pick(black_box(&wanted), &[], now)?;
        let after = now.elapsed();
        pick.tell(Outcome::Answered { status: http::StatusCode::OK, after }, now);
    }
    println!("{count} requests");
    Ok(())
}

/// A route found among many, and answered.
fn find(count: usize, routes: usize) -> Result<(), Failure> {
    let route = |number: usize| {
        let path = format!("/service-{number}/api/*").parse::<Pattern>();
        let text = handler::Config::Respond(respond::Config::text("found"));
        path.map(|path| route::Config::new(path, text)).map_err(|error| error.to_string())
    };
    let routes = (0..routes).map(route).collect::<Result<Vec<_>, _>>()?;
    let config = Config { routes, ..Config::default() };
    let gateway = Gateway::new(&config, &Shared::default(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for number in 0..count {
            // The same ten, however many there are: the first request of a route makes its counters.
            let number = number % 10 * (config.routes.len() / 10);
            let path = format!("/service-{number}/api/users");
            let mut request = http::Request::builder().uri(path).body(sterna_net::Body::empty())?;
            let response = gateway.handle(&mut request).await;
            if response.status() != http::StatusCode::OK {
                return Err(format!("status {}", response.status()).into());
            }
        }
        println!("{count} requests");
        Ok(())
    })
}

fn address(socket: SocketAddr) -> Address {
    use upstream::{Place, Scheme};
    let place = Place::Net { host: socket.ip().to_string(), port: socket.port() };
    Address { scheme: Scheme::Http, place }
}

/// What a browser sends.
fn request(number: usize) -> http::Result<Request> {
    http::Request::builder()
        .uri(format!("https://www.example.org/assets/page-{number}.html"))
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0")
        .header("accept", "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-US,en;q=0.9")
        .body(sterna_net::Body::empty())
}

/// A backend that answers whatever it reads, on a thread for each connection.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(connection));
        }
    });
    Ok(address)
}

fn answer(mut connection: TcpStream) -> io::Result<()> {
    let mut response =
        b"HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 26 Nov 2026 04:00:00 GMT\r\n\
        content-type: application/octet-stream\r\ncontent-length: 1024\r\netag: \"a\"\r\n\r\n"
            .to_vec();
    response.resize(response.len() + 1024, b'x');
    let mut buffer = [0; 16 << 10];
    connection.set_nodelay(true)?;
    // A request is smaller than what one reading takes, and the next one comes after the answer.
    while connection.read(&mut buffer)? > 0 {
        connection.write_all(&response)?;
    }
    Ok(())
}

/// Counts what is allocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: all of it is left to the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

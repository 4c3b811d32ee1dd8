//! Backends on loopback that answer what a test tells them; they end with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

/// An origin over HTTP/1.1, which tells what it was asked.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    answer: Arc<Mutex<String>>,
    /// The head of each request; `None` when a connection has ended.
    pub(super) heard: mpsc::Receiver<Option<String>>,
}

impl Origin {
    pub(super) fn start(status: u16, content: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(String::new()));
        let (told, heard) = mpsc::channel();
        let of_thread = answer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, told) = (of_thread.clone(), told.clone());
                thread::spawn(move || serve(&stream, &answer, &told));
            }
        });
        let origin = Self { address, answer, heard };
        origin.answers(status, content);
        origin
    }

    pub(super) fn answers(&self, status: u16, content: &str) {
        let len = content.len();
        let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {len}\r\n\r\n");
        *self.answer.lock().unwrap() = head + content;
    }
}

fn serve(stream: &TcpStream, answer: &Mutex<String>, told: &mpsc::Sender<Option<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(len) if len > 0 => {}
                _ => return drop(told.send(None)),
            }
        }
        let _ = told.send(Some(head));
        let answer = answer.lock().unwrap().clone();
        let mut stream = stream;
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// What a gRPC server says.
#[derive(Clone)]
pub(super) enum Says {
    /// This state of the service, `grpc-status: 0` in the trailers.
    State(u8),
    /// This `grpc-status` in the head, and nothing else.
    Status(&'static str),
}

/// A gRPC server over h2c; `asked` has the message of each request.
pub(super) struct Grpc {
    pub(super) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    pub(super) asked: mpsc::Receiver<(String, Vec<u8>)>,
}

impl Grpc {
    pub(super) fn start(says: Says) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let says = Arc::new(Mutex::new(says));
        let (told, asked) = mpsc::channel();
        let of_thread = says.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (says, told) = (of_thread.clone(), told.clone());
                    tokio::spawn(async move { serve_grpc(stream, &says, &told).await });
                }
            });
        });
        Self { address, says, asked }
    }

    pub(super) fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

async fn serve_grpc(
    stream: tokio::net::TcpStream,
    says: &Arc<Mutex<Says>>,
    told: &mpsc::Sender<(String, Vec<u8>)>,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (says, told) = (says.clone(), told.clone());
        // The connection is driven by `accept`, and the content comes while it waits there.
        tokio::spawn(async move { answer_grpc(request, respond, &says, &told).await });
    }
}

async fn answer_grpc(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    says: &Mutex<Says>,
    told: &mpsc::Sender<(String, Vec<u8>)>,
) {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        message.extend_from_slice(&data);
    }
    let _ = told.send((path, message));
    let says = says.lock().unwrap().clone();
    let mut head = Response::new(());
    let fields = head.headers_mut();
    fields.insert("content-type", HeaderValue::from_static("application/grpc"));
    match says {
        Says::Status(status) => {
            fields.insert("grpc-status", HeaderValue::from_static(status));
            let _ = respond.send_response(head, true);
        }
        Says::State(state) => {
            let Ok(mut stream) = respond.send_response(head, false) else { return };
            let frame = Bytes::from(vec![0, 0, 0, 0, 2, 8, state]);
            let _ = stream.send_data(frame, false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let _ = stream.send_trailers(trailers);
        }
    }
}

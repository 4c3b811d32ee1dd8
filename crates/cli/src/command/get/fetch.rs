//! From the first request to the last byte of the last response.

use std::time::Instant;

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use sterna_net::Body;
use sterna_net::client::{Client, Exchange};

use super::connect::Clients;
use super::request::Ask;
use super::sink::{self, Sink};
use super::{Args, GetError, early, failure, migrate, narrate};
use crate::report::say;

/// What has happened so far; what is told at the end, whether it ended well or not.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) began: Instant,
    pub(super) redirects: Vec<Redirect>,
    /// When the last request began.
    pub(super) asked: Instant,
    pub(super) ask: Ask,
    pub(super) answer: Option<Answer>,
    pub(super) bytes: u64,
    pub(super) trailers: HeaderMap,
    pub(super) migration: Option<migrate::Migration>,
    pub(super) ended: Option<Instant>,
}

/// A response that led elsewhere.
#[derive(Debug)]
pub(super) struct Redirect {
    pub(super) url: String,
    pub(super) status: StatusCode,
}

/// The head of the last response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) exchange: Option<Exchange>,
}

impl Story {
    pub(super) fn new(ask: Ask) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            redirects: Vec::new(),
            asked: now,
            ask,
            answer: None,
            bytes: 0,
            trailers: HeaderMap::new(),
            migration: None,
            ended: None,
        }
    }
}

/// Asks, follows, and takes the content.
///
/// # Cancel safety
/// What was not whole is gone; the story has what happened.
pub(super) async fn fetch(args: &Args, story: &mut Story) -> Result<(), GetError> {
    // Before anything is asked, so that a server does not work for nothing.
    let (output, is_json) = (args.output.clone(), args.json);
    let mut sink = sink::waiting(move || Sink::open(output.as_deref(), is_json)).await?;
    let mut clients = Clients::new(args);
    let fetched = follow(args, story, &mut clients, &mut sink).await;
    story.ended = Some(Instant::now());
    clients.close().await;
    fetched?;
    sink.finish().await?;
    match &story.answer {
        Some(answer) if !args.no_check_status && failure::is_failure(answer.status) => {
            Err(GetError::Status(answer.status))
        }
        _ => Ok(()),
    }
}

async fn follow(
    args: &Args,
    story: &mut Story,
    clients: &mut Clients,
    sink: &mut Sink,
) -> Result<(), GetError> {
    if args.early_data {
        early::take_ticket(&clients.of(&story.ask.url)?, &story.ask).await?;
    }
    loop {
        let client = clients.of(&story.ask.url)?;
        let request = story.ask.to_request()?;
        story.asked = Instant::now();
        let asked = request.method().clone();
        let response = client.send(request).await?;
        let (mut head, body) = response.into_parts();
        let exchange = head.extensions.remove::<Exchange>();
        if args.early_data
            && let Some(exchange) = &exchange
        {
            say(early::verdict(exchange.early_data));
        }
        if args.verbose {
            narrate::exchange(&story.ask, &asked, exchange.as_ref());
            narrate::response_head(head.status, &head.headers);
        }
        let next =
            if args.location { story.ask.redirected(head.status, &head.headers)? } else { None };
        let status = head.status;
        story.answer = Some(Answer { status, headers: head.headers, exchange });
        let Some(next) = next else { return receive(args, story, &client, body, sink).await };
        if story.redirects.len() >= usize::try_from(args.max_redirects).unwrap_or(usize::MAX) {
            let why = "there were as many as --max-redirects allows";
            return Err(GetError::Redirect { status, why });
        }
        story.redirects.push(Redirect { url: story.ask.target(), status });
        story.ask = next;
    }
}

/// Takes the content of the response that counts.
async fn receive(
    args: &Args,
    story: &mut Story,
    client: &Client,
    mut body: Body,
    sink: &mut Sink,
) -> Result<(), GetError> {
    if let Some(answer) = &story.answer
        && (args.include || args.head)
    {
        let head = narrate::head(answer);
        let write = move || sink::stdout(|out| std::io::Write::write_all(out, head.as_bytes()));
        sink::waiting(write).await?;
    }
    let mut moving = args.migrate.then(|| migrate::Moving::new(client));
    let received = loop {
        let frame = match body.frame().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(GetError::from(error)),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(piece) => {
                story.bytes += piece.len() as u64;
                sink.write(piece).await?;
                if let Some(moving) = &mut moving {
                    moving.on_bytes(story.bytes).await?;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    story.trailers = trailers;
                }
            }
        }
    };
    if args.trailers || args.verbose {
        narrate::trailers(&story.trailers).iter().for_each(|line| say(line));
    }
    if let Some(moving) = moving {
        let migration = moving.end(received.is_ok(), story.bytes);
        say(&migration.to_string());
        let is_moved = migration.has_moved();
        story.migration = Some(migration);
        received?;
        return if is_moved { Ok(()) } else { Err(GetError::Migration(migrate::TOO_SHORT)) };
    }
    received
}

//! One HTTP/3 connection that sends canned requests and checks what comes back.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    io,
    rc::Rc,
    time::Instant,
};

use bytes::Bytes;
use quinn_proto::{
    ClientConfig, ConnectionError, Dir, Event, ReadError, StreamEvent, StreamId, TransportErrorCode,
};

use crate::{
    Target,
    report::Tally,
    request,
    response::{Breach, Response},
    transport::{Buffers, StartError, Transport},
};

pub(crate) struct Session {
    transport: Transport,
    request: Bytes,
    size: u64,
    connected: bool,
    in_flight: HashMap<StreamId, InFlight>,
    readable: Vec<StreamId>,
    /// Whether what is readable is read; it is remembered otherwise.
    is_reading: bool,
}

struct InFlight {
    since: Instant,
    response: Response,
}

/// Why a request or a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot start a connection: {0}")]
    Start(#[from] StartError),
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error("connection lost: {0}")]
    Lost(#[from] ConnectionError),
    #[error("response: {0}")]
    Response(#[from] Breach),
    #[error("stream reset with code {0:#x}")]
    Reset(u64),
}

impl Session {
    /// Connects and opens the control stream; the handshake is confirmed (RFC 9001 §4.1.2).
    ///
    /// nginx 1.28 refuses about one connection in 2,000 for parameters which the engine makes up to be odd (RFC 9000 §18.1):
    /// such a refusal is told, and the connection made anew with others.
    pub(crate) async fn connect(
        target: &Target,
        config: ClientConfig,
        buffers: Rc<RefCell<Buffers>>,
    ) -> Result<Self, Failure> {
        match Self::connect_once(target, config.clone(), buffers.clone()).await {
            Err(Failure::Lost(ConnectionError::ConnectionClosed(refusal)))
                if refusal.error_code == TransportErrorCode::TRANSPORT_PARAMETER_ERROR =>
            {
                eprintln!("refused, and connected anew: {refusal}");
                Self::connect_once(target, config, buffers).await
            }
            outcome => outcome,
        }
    }

    async fn connect_once(
        target: &Target,
        config: ClientConfig,
        buffers: Rc<RefCell<Buffers>>,
    ) -> Result<Self, Failure> {
        let transport = Transport::connect(target.address, &target.sni, config, buffers)?;
        let mut session = Self {
            transport,
            request: request::get(&target.sni, &target.path),
            size: target.size,
            connected: false,
            in_flight: HashMap::new(),
            readable: Vec::new(),
            is_reading: true,
        };
        let mut nothing = Tally::new(0);
        while !session.connected {
            session.transport.flush().await?;
            session.transport.wait().await?;
            session.handle_events(&mut nothing)?;
        }
        session.open_control();
        // Until the server has our Finished, and has said so: otherwise its handshake would wait for the first request.
        while session.transport.connection.stats().frame_rx.handshake_done == 0 {
            session.transport.flush().await?;
            session.transport.wait().await?;
            session.handle_events(&mut nothing)?;
        }
        Ok(session)
    }

    /// Keeps up to `streams` requests in flight until the tally has none left to send and all are answered.
    pub(crate) async fn run(&mut self, streams: usize, tally: &RefCell<Tally>) {
        if let Err(failure) = self.exchange(streams, tally).await {
            let lost = self.in_flight.len().max(1) as u64;
            tally.borrow_mut().on_failures(lost, &failure);
        }
    }

    /// Answers what the server sends, without a request; ends only when the connection does.
    pub(crate) async fn rest(&mut self) -> Failure {
        let mut nothing = Tally::new(0);
        loop {
            let turn = async {
                self.transport.flush().await?;
                self.transport.wait().await?;
                self.handle_events(&mut nothing)
            };
            if let Err(failure) = turn.await {
                return failure;
            }
        }
    }

    /// Sends `streams` requests and reads nothing from then on; returns when something of each answer is there.
    pub(crate) async fn hold(
        &mut self,
        streams: usize,
        tally: &RefCell<Tally>,
    ) -> Result<(), Failure> {
        self.is_reading = false;
        loop {
            self.send_requests(streams, &mut tally.borrow_mut());
            let answered: HashSet<_> = self.readable.iter().collect();
            if self.in_flight.keys().all(|id| answered.contains(id)) && !self.in_flight.is_empty() {
                return Ok(());
            }
            self.transport.flush().await?;
            self.transport.wait().await?;
            self.handle_events(&mut tally.borrow_mut())?;
        }
    }

    /// Reads again after [`Self::hold`].
    pub(crate) fn release(&mut self) {
        self.is_reading = true;
    }

    pub(crate) fn close(mut self) {
        self.transport.close();
    }

    async fn exchange(&mut self, streams: usize, tally: &RefCell<Tally>) -> Result<(), Failure> {
        // What was there before anyone wanted to read it.
        self.handle_events(&mut tally.borrow_mut())?;
        loop {
            self.send_requests(streams, &mut tally.borrow_mut());
            self.transport.flush().await?;
            if self.in_flight.is_empty() && tally.borrow().budget == 0 {
                return Ok(());
            }
            self.transport.wait().await?;
            self.handle_events(&mut tally.borrow_mut())?;
        }
    }

    fn open_control(&mut self) {
        let connection = &mut self.transport.connection;
        // A server without room for three streams of this kind breaks RFC 9114 §6.2; the requests will then fail.
        if let Some(id) = connection.streams().open(Dir::Uni) {
            let _ = connection.send_stream(id).write(request::CONTROL);
        }
    }

    fn send_requests(&mut self, streams: usize, tally: &mut Tally) {
        let connection = &mut self.transport.connection;
        while self.in_flight.len() < streams && tally.budget > 0 {
            let Some(id) = connection.streams().open(Dir::Bi) else { return };
            tally.budget -= 1;
            let mut stream = connection.send_stream(id);
            // Both can fail only on a stream that was finished or stopped; this one is new, and far below any window.
            let _ = stream.write_chunks(&mut [self.request.clone()]);
            let _ = stream.finish();
            let in_flight = InFlight { since: Instant::now(), response: Response::default() };
            self.in_flight.insert(id, in_flight);
        }
    }

    fn handle_events(&mut self, tally: &mut Tally) -> Result<(), Failure> {
        while let Some(event) = self.transport.connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => return Err(reason.into()),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    let mut streams = self.transport.connection.streams();
                    self.readable.extend(std::iter::from_fn(|| streams.accept(dir)));
                }
                // The engine repeats this for each STREAM frame of a batch.
                Event::Stream(StreamEvent::Readable { id })
                    if self.readable.last() != Some(&id) =>
                {
                    self.readable.push(id);
                }
                _ => {}
            }
        }
        if !self.is_reading {
            return Ok(());
        }
        let mut readable = std::mem::take(&mut self.readable);
        for id in readable.drain(..) {
            self.read(id, tally);
        }
        self.readable = readable;
        Ok(())
    }

    /// Reads what a stream has; one of the server's own is thrown away.
    fn read(&mut self, id: StreamId, tally: &mut Tally) {
        let mut stream = self.transport.connection.recv_stream(id);
        // Already read to its end.
        let Ok(mut chunks) = stream.read(true) else { return };
        let outcome = loop {
            let response = self.in_flight.get_mut(&id).map(|in_flight| &mut in_flight.response);
            match (chunks.next(usize::MAX), response) {
                (Ok(Some(chunk)), Some(response)) => {
                    if let Err(breach) = response.handle(&chunk.bytes) {
                        break Err(breach.into());
                    }
                }
                (Ok(Some(_)), None) => {}
                (Ok(None), Some(response)) => break response.finish(self.size).map_err(Into::into),
                (Err(ReadError::Reset(code)), _) => break Err(Failure::Reset(code.into_inner())),
                (Ok(None), None) | (Err(ReadError::Blocked), _) => return,
            }
        };
        // Whether credit is due is found out by the next flush, which asks the engine anyway.
        let _ = chunks.finalize();
        if let Some(in_flight) = self.in_flight.remove(&id) {
            match outcome {
                Ok(()) => tally.on_response(in_flight.since.elapsed()),
                Err(failure) => tally.on_failure(&failure),
            }
        }
    }
}

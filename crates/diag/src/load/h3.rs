//! HTTP/3, directly on the driver of `sterna-quic`: what costs a load generator its speed is left out.
//!
//! ```text
//!  drive (a task for each socket) ──► Driver::turn ──► App::run ──► Session::run
//!         │ connects what is wanted                        │ requests out, responses in
//!         └──────────────── App: the slots ◄───────────────┘
//! ```
//!
//! A slot is a place for one connection; when that has ended, another takes it.

mod response;
mod session;
mod slot;
mod uni;
mod verify;

use std::{
    cell::RefCell,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use sterna_quic::{
    Application, ClientConfig, CloseReason, Config, Connection, ConnectionKey, Driver, Group,
    SocketOptions,
};
use tokio::sync::Notify;

use self::{
    session::{End, Session, Work},
    slot::{Slot, schedule},
};
use super::{
    Failure, Plan, RunError, Version,
    alarm::Alarm,
    hub::{Hub, Stage},
    request,
};

/// What a worker needs for its connections, found out before any begins.
pub(super) struct Setup {
    client: ClientConfig,
    request: Bytes,
}

impl Setup {
    /// TLS, transport and the request, for all workers.
    pub(super) fn new(plan: &Plan) -> Result<Self, RunError> {
        let resume = plan.early_data;
        let tls = plan.trust.config(Version::Http3, plan.early_data, resume)?.into();
        let transport = Config {
            // Requests are the client's to open; a server that wants to is refused.
            max_bidi_streams: 0,
            handshake_timeout: plan.handshake_timeout,
            max_connections: usize::MAX,
            ..Config::default()
        };
        Ok(Self { client: ClientConfig { tls, transport }, request: request::h3(plan) })
    }
}

/// Runs the connections `numbers` of the plan until the hub says that it is over.
pub(super) async fn run(
    setup: Rc<Setup>,
    hub: Rc<Hub>,
    numbers: std::ops::Range<usize>,
) -> Result<(), RunError> {
    let sockets = hub.plan.sockets.clamp(1, numbers.len().max(1));
    let mut tasks = Vec::new();
    for socket in 0..sockets {
        let bound = |index| numbers.start + numbers.len() * index / sockets;
        let numbers = bound(socket)..bound(socket + 1);
        let driver = start(&setup, &hub, numbers)?;
        tasks.push(tokio::task::spawn_local(drive(driver, setup.clone(), hub.clone())));
    }
    for task in tasks {
        task.await.expect("a driver does not panic")?;
    }
    Ok(())
}

fn start(
    setup: &Rc<Setup>,
    hub: &Rc<Hub>,
    numbers: std::ops::Range<usize>,
) -> Result<Driver<App>, RunError> {
    let local: SocketAddr = match hub.plan.target.address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let group = Group::client(local, &SocketOptions::default()).map_err(RunError::Socket)?;
    let [member] = <[_; 1]>::try_from(group.into_members()).expect("a client's group has one");
    let app = App {
        hub: hub.clone(),
        setup: setup.clone(),
        slots: numbers.map(Slot::new).collect(),
        woken: Rc::default(),
        is_wanting: true,
        has_room: false,
        news: Rc::default(),
    };
    member.start(None, app).map_err(RunError::Socket)
}

/// Takes turns until it is over.
async fn drive(mut driver: Driver<App>, setup: Rc<Setup>, hub: Rc<Hub>) -> Result<(), RunError> {
    let alarm = Alarm::new().map_err(RunError::Socket)?;
    let news = driver.endpoint().application().news.clone();
    let mut stages = hub.stages();
    loop {
        if driver.endpoint().application().is_wanting {
            connect(&mut driver, &setup, &hub, Instant::now());
        }
        let app = driver.endpoint().application();
        if hub.is_over() {
            if app.slots.iter().all(|slot| slot.key.is_none()) {
                break;
            }
            app.wake_all();
        }
        let (at, is_held) = (app.wakes_at(), app.is_wanting);
        let alarmed = async {
            match at {
                Some(at) => alarm.until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            turned = driver.turn() => turned.map_err(RunError::Socket)?,
            alarmed = alarmed => {
                alarmed.map_err(RunError::Socket)?;
                driver.endpoint().application().wake_due(Instant::now());
            }
            () = news.notified() => {}
            () = hub.dial(), if is_held => driver.endpoint().application().has_room = true,
            () = hub.until(Hub::is_over), if !hub.is_over() => {}
            changed = stages.changed() => {
                // The conductor has gone only when everything has.
                changed.map_err(|_| RunError::Abandoned)?;
                hub.update_stage();
                driver.endpoint().application().on_stage();
            }
        }
    }
    hub.tally.borrow_mut().quic.kernel_drops += driver.counters().kernel_drops;
    Ok(())
}

/// Begins the connections that are wanted now.
fn connect(driver: &mut Driver<App>, setup: &Setup, hub: &Hub, now: Instant) {
    let app = driver.endpoint().application();
    app.is_wanting = false;
    let mut has_room = std::mem::take(&mut app.has_room);
    let plan = &hub.plan;
    let count = driver.endpoint().application().slots.len();
    for index in 0..count {
        let slot = &mut driver.endpoint().application().slots[index];
        if !slot.wants_connection(hub, now) {
            continue;
        }
        if !std::mem::take(&mut has_room) && !hub.try_dial() {
            driver.endpoint().application().is_wanting = true;
            return;
        }
        slot.is_dialing = true;
        if !slot.takes_turn(hub, now) {
            continue;
        }
        // `opened` takes the slot that has begun and has no connection yet.
        slot.began = Some(now);
        let begun = driver.connect(&setup.client, plan.target.address, &plan.target.host);
        hub.tally.borrow_mut().attempts += 1;
        let slot = &mut driver.endpoint().application().slots[index];
        match begun {
            Ok(key) => slot.key = Some(key),
            Err(error) => {
                slot.began = None;
                slot.on_end(&End::NotConnected(Failure::Connect(error.to_string())), hub, now);
            }
        }
    }
    if has_room {
        hub.dialled();
    }
}

/// What runs on one socket.
struct App {
    hub: Rc<Hub>,
    setup: Rc<Setup>,
    slots: Vec<Slot>,
    woken: Rc<RefCell<Woken>>,
    /// A slot may want a connection.
    is_wanting: bool,
    /// Room for one handshake was waited for, and taken.
    has_room: bool,
    /// Rung when a slot may want a connection.
    news: Rc<Notify>,
}

/// Connections to be run, though the network has nothing for them.
#[derive(Default)]
struct Woken {
    keys: Vec<ConnectionKey>,
    waker: Option<Waker>,
}

impl App {
    fn wake(&self, keys: impl Iterator<Item = ConnectionKey>) {
        let woken = &mut *self.woken.borrow_mut();
        woken.keys.extend(keys);
        if !woken.keys.is_empty()
            && let Some(waker) = woken.waker.take()
        {
            waker.wake();
        }
    }

    fn wake_all(&self) {
        self.wake(self.slots.iter().filter_map(|slot| slot.key));
    }

    /// When a slot has something due, at the earliest.
    fn wakes_at(&self) -> Option<Instant> {
        let due = self.slots.iter().filter_map(|slot| slot.due);
        let waiting = self.slots.iter().filter(|slot| slot.began.is_none() && !slot.is_given_up());
        due.chain(waiting.filter_map(|slot| slot.not_before)).min()
    }

    fn wake_due(&mut self, now: Instant) {
        self.is_wanting = true;
        for slot in &mut self.slots {
            slot.not_before.take_if(|at| *at <= now);
        }
        let due = self.slots.iter_mut().filter_map(|slot| {
            slot.due.take_if(|at| *at <= now)?;
            slot.key
        });
        let due: Vec<_> = due.collect();
        self.wake(due.into_iter());
    }

    fn on_stage(&mut self) {
        self.is_wanting = true;
        if let Stage::Draining { since } = self.hub.stage() {
            let schedules = self.slots.iter_mut().filter_map(|slot| slot.schedule.as_mut());
            let overdue: u64 = schedules.map(|schedule| schedule.overdue(since)).sum();
            self.hub.tally.borrow_mut().unsent += overdue;
        }
        self.wake_all();
    }
}

impl Application for App {
    type State = Session;

    fn opened(&mut self, _: &mut Connection, now: Instant) -> Session {
        let begun = self.slots.iter().position(|slot| slot.began.is_some() && slot.key.is_none());
        let slot = begun.expect("`connect` marks the slot that it connects");
        Session::new(slot, self.slots[slot].began.unwrap_or(now))
    }

    fn run(&mut self, session: &mut Session, connection: &mut Connection, _: Instant) {
        let slot = &mut self.slots[session.slot];
        let mut work = Work {
            hub: &self.hub,
            request: &self.setup.request,
            schedule: schedule(&mut slot.schedule, slot.number, &self.hub),
            handshake: &mut slot.ticket,
        };
        slot.due = session.run(connection, &mut work);
        if session.is_settled() {
            slot.settle(&self.hub);
        }
    }

    fn timeout(&self, session: &Session) -> Option<Instant> {
        session.timeout()
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>, woken: &mut Vec<ConnectionKey>) {
        let ours = &mut *self.woken.borrow_mut();
        woken.append(&mut ours.keys);
        match &mut ours.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
    }

    fn closed(&mut self, session: Session, reason: &CloseReason, now: Instant) {
        let slot = &mut self.slots[session.slot];
        slot.key = None;
        slot.began = None;
        slot.due = None;
        let end = session.closed(reason, &self.hub);
        slot.on_end(&end, &self.hub, now);
        self.is_wanting = true;
        self.news.notify_one();
    }
}

//! A TCP proxy before the broker that understands Kafka's frames well enough to lose the right one.
//!
//! The broker advertises the proxy's port to whoever connects through it, so a client cannot get round. Frames pass
//! unchanged until a [`Fault`] matches one by its kind of request and its direction; every fault counts how often it
//! struck, because a scenario in which nothing happened proves nothing.
//!
//! ```text
//!   client ──request──▶ [faults: lose, delay, refuse, keep] ──▶ broker
//!          ◀──response─ [faults: lose, delay] ◀──────────────── (the kind is remembered by correlation id)
//! ```
//!
//! Two threads a connection, one a direction: a delayed frame delays all behind it, as a slow link does.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use livesession::clock;

mod answer;

/// Far above what a client sends or a broker answers here.
const MAX_FRAME_BYTES: usize = 64 * 1_024 * 1_024;

/// A kind of request, by its number in Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api(pub i16);

impl Api {
    pub const PRODUCE: Api = Api(0);
    pub const FETCH: Api = Api(1);
    pub const LIST_OFFSETS: Api = Api(2);
    pub const METADATA: Api = Api(3);
    pub const OFFSET_FETCH: Api = Api(9);
    pub const FIND_COORDINATOR: Api = Api(10);
    pub const JOIN_GROUP: Api = Api(11);
    pub const HEARTBEAT: Api = Api(12);
    pub const SYNC_GROUP: Api = Api(14);
    pub const INIT_PRODUCER_ID: Api = Api(22);
    pub const ADD_PARTITIONS_TO_TXN: Api = Api(24);
    pub const ADD_OFFSETS_TO_TXN: Api = Api(25);
    pub const END_TXN: Api = Api(26);
    pub const TXN_OFFSET_COMMIT: Api = Api(28);
    pub const DESCRIBE_CONFIGS: Api = Api(32);
}

/// The error of a broker that is not, or not any more, responsible for a group or a transactional id.
pub const NOT_COORDINATOR: i16 = 16;

/// From the client or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// It is gone, and the connection stays: nobody learns of it but by waiting.
    Swallow,
    /// It is gone together with the connection.
    Cut,
    /// It, and all behind it, comes so much later.
    Delay(Duration),
    /// The broker never sees the request; the client gets this error.
    Answer(i16),
    /// As `Cut`, but the request is kept for a later `Release`.
    Keep,
    /// As `Swallow`, but the request is kept for a later `Release`.
    Hold,
    /// It passes, after the kept request was sent to the broker by another way and was answered.
    Release,
}

/// What is to go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub api: Api,
    pub side: Side,
    pub action: Action,
    /// It strikes every so many frames of the kind; 1: each.
    pub every: u64,
    /// It strikes at most so often.
    pub times: u64,
}

impl Fault {
    /// A fault that strikes each frame of a kind.
    pub fn new(api: Api, side: Side, action: Action) -> Fault {
        Fault { api, side, action, every: 1, times: u64::MAX }
    }

    pub fn every(self, every: u64) -> Fault {
        Fault { every, ..self }
    }

    pub fn times(self, times: u64) -> Fault {
        Fault { times, ..self }
    }
}

/// A fault at work, and how often it has struck.
#[derive(Clone)]
pub struct Struck(Arc<AtomicU64>);

impl Struck {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

struct Armed {
    fault: Fault,
    seen: u64,
    struck: Struck,
}

/// The proxy; it and all connections through it end when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    broker: SocketAddr,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Vec<Armed>,
    links: Vec<Arc<Link>>,
    kept: Option<Vec<u8>>,
    /// What the broker answered to it.
    released: Option<i16>,
}

/// One connection of a client, and the one to the broker that belongs to it.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    /// Frames to the client come from the broker and from the proxy.
    to_client: Mutex<()>,
    /// Kind and version of the requests without an answer, by correlation id.
    asked: Mutex<BTreeMap<i32, (Api, i16)>>,
    /// Half-open: whatever comes is taken and passed to nobody.
    silent: AtomicBool,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub api: Api,
    pub version: i16,
    pub correlation: i32,
    /// What follows: client id, then the body.
    pub rest: &'a [u8],
}

impl Proxy {
    /// Listens on a port of loopback and passes everything to another one.
    pub fn start(port: u16, broker: u16) -> Proxy {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            broker: SocketAddr::from(([127, 0, 0, 1], broker)),
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Proxy { shared, address, acceptor: Some(acceptor) }
    }

    /// Returns `host:port` for `bootstrap.servers` of clients that come through here.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Lets something go wrong from now on. Of several faults that match, the first one strikes.
    pub fn inject(&self, fault: Fault) -> Struck {
        let struck = Struck(Arc::default());
        lock(&self.shared.state).faults.push(Armed { fault, seen: 0, struck: struck.clone() });
        struck
    }

    /// Lets nothing more go wrong. Connections that are half-open stay so.
    pub fn heal(&self) {
        lock(&self.shared.state).faults.clear();
    }

    /// Makes every connection half-open: nothing passes any more, and neither end is told. New ones work.
    ///
    /// Returns how many there were.
    pub fn silence(&self) -> usize {
        let state = lock(&self.shared.state);
        state.links.iter().for_each(|link| link.silent.store(true, Ordering::Release));
        state.links.len()
    }

    /// Returns the error code with which the broker answered the kept request, once.
    pub fn released(&self) -> Option<i16> {
        lock(&self.shared.state).released.take()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the acceptor, which then ends all connections and waits for their threads.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            acceptor.join().expect("a thread of the proxy panicked");
        }
    }
}

impl Shared {
    /// Takes connections until the proxy is dropped.
    fn accept(self: Arc<Shared>, listener: &TcpListener) {
        let mut threads = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            if self.is_stopped() {
                break;
            }
            // A broker that is down refuses, and so does the proxy by dropping the connection.
            let Ok(link) = self.connect(client).map(Arc::new) else { continue };
            lock(&self.state).links.push(Arc::clone(&link));
            for side in [Side::Request, Side::Response] {
                let (shared, link) = (Arc::clone(&self), Arc::clone(&link));
                threads.push(thread::spawn(move || {
                    // A connection ends with an error as often as without: either way it is over.
                    let _ = shared.pump(&link, side);
                    link.close();
                    lock(&shared.state).links.retain(|other| !Arc::ptr_eq(other, &link));
                }));
            }
        }
        lock(&self.state).links.iter().for_each(|link| link.close());
        for thread in threads {
            thread.join().expect("a connection's thread panicked");
        }
    }

    fn connect(&self, client: TcpStream) -> io::Result<Link> {
        let broker = TcpStream::connect(self.broker)?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        Ok(Link {
            client,
            broker,
            to_client: Mutex::default(),
            asked: Mutex::default(),
            silent: AtomicBool::new(false),
        })
    }

    /// Passes frames in one direction until the connection ends.
    fn pump(&self, link: &Link, side: Side) -> io::Result<()> {
        let mut from = if side == Side::Request { &link.client } else { &link.broker };
        loop {
            let frame = read_frame(&mut from)?;
            let api = match side {
                Side::Request => {
                    let request = Request::parse(&frame)?;
                    lock(&link.asked).insert(request.correlation, (request.api, request.version));
                    Some(request.api)
                }
                Side::Response => lock(&link.asked).remove(&correlation(&frame)?).map(|(api, _)| api),
            };
            if link.silent.load(Ordering::Acquire) {
                continue;
            }
            match api.and_then(|api| self.fault(api, side)) {
                None => link.pass(side, &frame)?,
                Some(Action::Swallow) => {}
                Some(Action::Cut) => return Ok(()),
                Some(Action::Delay(time)) => {
                    self.wait(time);
                    link.pass(side, &frame)?;
                }
                Some(Action::Answer(code)) => {
                    let request = Request::parse(&frame)?;
                    lock(&link.asked).remove(&request.correlation);
                    link.pass(Side::Response, &answer::refuse(request, code))?;
                }
                Some(Action::Keep) => {
                    lock(&self.state).kept = Some(frame);
                    return Ok(());
                }
                Some(Action::Hold) => lock(&self.state).kept = Some(frame),
                Some(Action::Release) => {
                    self.release()?;
                    link.pass(side, &frame)?;
                }
            }
        }
    }

    /// Returns what is to happen to a frame of this kind, and counts it.
    fn fault(&self, api: Api, side: Side) -> Option<Action> {
        for armed in &mut lock(&self.state).faults {
            let Fault { api: kind, side: at, action, every, times } = armed.fault;
            if kind != api || at != side || armed.struck.count() >= times {
                continue;
            }
            armed.seen += 1;
            if armed.seen.is_multiple_of(every) {
                armed.struck.0.fetch_add(1, Ordering::AcqRel);
                return Some(action);
            }
        }
        None
    }

    /// Sends the request that was kept on a connection of its own, and notes how it was answered.
    fn release(&self) -> io::Result<()> {
        let kept = lock(&self.state).kept.take().ok_or(io::ErrorKind::NotFound)?;
        let mut broker = TcpStream::connect(self.broker)?;
        write_frame(&mut broker, &kept)?;
        let code = answer::code(Request::parse(&kept)?, &read_frame(&mut broker)?);
        lock(&self.state).released = Some(code);
        Ok(())
    }

    /// Waits, but not longer than the proxy lives.
    fn wait(&self, time: Duration) {
        let until = clock::instant() + time;
        while !self.is_stopped() && clock::instant() < until {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Link {
    fn pass(&self, side: Side, frame: &[u8]) -> io::Result<()> {
        match side {
            Side::Request => write_frame(&mut &self.broker, frame),
            Side::Response => {
                let _alone = lock(&self.to_client);
                write_frame(&mut &self.client, frame)
            }
        }
    }

    /// Ends both connections. What was ended before, by whomever, stays so.
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }
}

impl Request<'_> {
    fn parse(frame: &[u8]) -> io::Result<Request<'_>> {
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (head, rest) = frame.split_at_checked(8).ok_or_else(short)?;
        let number = |at: usize| i16::from_be_bytes([head[at], head[at + 1]]);
        let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        Ok(Request { api: Api(number(0)), version: number(2), correlation, rest })
    }
}

/// Returns the correlation id of a response.
fn correlation(frame: &[u8]) -> io::Result<i32> {
    let head = frame.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(i32::from_be_bytes(*head))
}

/// Reads a frame, without its length.
fn read_frame(from: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// Writes a frame behind its length, in one piece.
fn write_frame(to: &mut impl io::Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), frame].concat())
}

/// Locks. What a panic left behind is whole: every guarded value is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

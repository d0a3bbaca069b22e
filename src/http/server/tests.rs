//! Tests that need a handler that waits, or an error that no whole process can provoke.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::metrics::Labels;

const LIMITS: Limits = Limits { connections: 4, head: Duration::from_secs(60), answer: Duration::from_secs(60) };
const PATIENCE: Duration = Duration::from_secs(30);

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it ends") })
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Connects, and asks for `/`.
async fn ask(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    ask_again(&stream).await;
    stream
}

async fn ask_again(stream: &TcpStream) {
    stream.writable().await.unwrap();
    assert_eq!(stream.try_write(REQUEST).unwrap(), REQUEST.len());
}

/// Reads until what was read ends with `end`, or until the connection is closed.
async fn read_until(end: Option<&str>, stream: &TcpStream) -> String {
    let mut text = String::new();
    while end.is_none_or(|end| !text.ends_with(end)) {
        stream.readable().await.unwrap();
        let mut bytes = [0; 1_024];
        match stream.try_read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
    text
}

async fn read_answer(stream: &TcpStream) {
    let answer = read_until(Some("answered"), stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("answered"), "{answer}");
}

async fn read_to_close(stream: &TcpStream) -> String {
    read_until(None, stream).await
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(Labels::default()))
}

/// A handler that says that it was called, and waits to be told to answer.
#[derive(Clone, Default)]
struct Handler {
    called: Arc<AtomicUsize>,
    answer: Arc<Notify>,
}

impl Handler {
    fn router(&self) -> Router {
        let handler = self.clone();
        Router::new().route(
            "/",
            get(move || async move {
                handler.called.fetch_add(1, Ordering::SeqCst);
                handler.answer.notified().await;
                "answered"
            }),
        )
    }

    async fn wait_called(&self, times: usize) {
        while self.called.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn stop_lets_requests_end_and_closes_what_has_none() {
    run(async {
        let (listener, address) = listen().await;
        let handler = Handler::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, handler.router(), LIMITS, metrics(), async {
            let _ = stopped.await;
        }));
        let silent = TcpStream::connect(address).await.unwrap();
        let half = TcpStream::connect(address).await.unwrap();
        half.writable().await.unwrap();
        half.try_write(&REQUEST[..9]).unwrap();
        let used = ask(address).await;
        handler.wait_called(1).await;
        handler.answer.notify_one();
        read_answer(&used).await;
        let busy = ask(address).await;
        handler.wait_called(2).await;
        stop.send(()).unwrap();
        assert_eq!(read_to_close(&silent).await, "");
        assert_eq!(read_to_close(&half).await, "");
        assert_eq!(read_to_close(&used).await, "");
        assert!(!server.is_finished(), "a request has not ended");
        assert!(TcpStream::connect(address).await.is_err(), "nothing is accepted any more");
        handler.answer.notify_one();
        read_answer(&busy).await;
        assert_eq!(read_to_close(&busy).await, "");
        server.await.unwrap();
    });
}

#[test]
fn connection_that_cannot_be_accepted_costs_the_oldest_and_a_pause() {
    const NO_FILE_LEFT: i32 = 24;
    run(async {
        let (listener, address) = listen().await;
        let (metrics, (stopping, _)) = (metrics(), watch::channel(false));
        let handler = Handler::default();
        let mut open = Open {
            router: handler.router(),
            limits: LIMITS,
            metrics: Arc::clone(&metrics),
            stopping,
            connections: Vec::new(),
            tasks: JoinSet::new(),
            warned: None,
        };
        let mut peers = Vec::new();
        for called in 1..=2 {
            peers.push(ask(address).await);
            open.add(listener.accept().await.unwrap().0).await;
            handler.wait_called(called).await;
        }
        open.not_accepted(&io::Error::from(io::ErrorKind::ConnectionAborted)).await;
        assert_eq!(open.connections.len(), 2, "a peer that has gone costs nothing");
        let begin = Instant::now();
        open.not_accepted(&io::Error::from_raw_os_error(NO_FILE_LEFT)).await;
        assert!(begin.elapsed() >= PAUSE);
        assert_eq!(read_to_close(&peers[0]).await, "");
        assert!(metrics.render().contains("livesession_http_connections 1\n"));
        handler.answer.notify_one();
        read_answer(&peers[1]).await;
        open.not_accepted(&io::Error::from_raw_os_error(NO_FILE_LEFT)).await;
        open.not_accepted(&io::Error::from_raw_os_error(NO_FILE_LEFT)).await;
        assert_eq!(open.connections.len(), 0, "without a connection there is only the pause");
    });
}

#[test]
fn connection_that_did_something_lately_outlives_a_younger_one() {
    run(async {
        let (listener, address) = listen().await;
        let handler = Handler::default();
        let limits = Limits { connections: 2, ..LIMITS };
        let metrics = metrics();
        let counted = Arc::clone(&metrics);
        let server = tokio::spawn(serve(listener, handler.router(), limits, counted, std::future::pending()));
        let used = ask(address).await;
        handler.wait_called(1).await;
        let silent = TcpStream::connect(address).await.unwrap();
        while !metrics.render().contains("livesession_http_connections 2\n") {
            tokio::task::yield_now().await;
        }
        handler.answer.notify_one();
        read_answer(&used).await;
        ask_again(&used).await;
        handler.wait_called(2).await;
        let third = ask(address).await;
        assert_eq!(read_to_close(&silent).await, "", "the silent one made room");
        handler.wait_called(3).await;
        handler.answer.notify_waiters();
        read_answer(&used).await;
        read_answer(&third).await;
        server.abort();
    });
}

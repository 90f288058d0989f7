//! [`Endpoint`], the target of a forward: a small HTTP server that remembers what arrived and answers as configured.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::{Clock, Timestamp};

/// Longest head of a request.
const LONGEST_HEAD: usize = 64 * 1024;
/// Longest body of a request.
const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// How a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// With this status, after a while.
    Status(u16, Duration),
    /// Not at all: the connection ends.
    None,
}

impl Answer {
    /// 204, at once.
    pub const TAKES: Self = Self::Status(204, Duration::ZERO);
    /// 503, at once.
    pub const FAILS: Self = Self::Status(503, Duration::ZERO);

    fn takes(self) -> bool {
        matches!(self, Self::Status(200..=299, _))
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When all of it was there.
    pub at: Timestamp,
    /// Its first line and its headers.
    pub head: String,
    /// Its body.
    pub body: Bytes,
    /// Whether it was taken: answered with 2xx.
    pub taken: bool,
}

/// A server on a port of loopback, until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    rules: Mutex<Rules>,
}

#[derive(Debug)]
struct Rules {
    answer: Answer,
    /// For bodies that hold a text.
    exceptions: Vec<(String, Answer)>,
}

impl Endpoint {
    /// One that takes everything.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let rules = Rules { answer: Answer::TAKES, exceptions: Vec::new() };
        let shared = Arc::new(Shared { arrivals: Mutex::default(), rules: Mutex::new(rules) });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _task: task })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on answers so, without exceptions.
    pub fn answer(&self, answer: Answer) {
        *self.shared.rules() = Rules { answer, exceptions: Vec::new() };
    }

    /// From now on answers so what holds this text.
    pub fn answer_to(&self, text: &str, answer: Answer) {
        self.shared.rules().exceptions.push((text.to_owned(), answer));
    }

    /// What has arrived, in order.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals().clone()
    }

    /// How much has arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.arrivals().len()
    }

    /// How much was taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.shared.arrivals().iter().filter(|arrival| arrival.taken).count()
    }
}

impl Shared {
    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().expect("nothing panics while it is held")
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("nothing panics while it is held")
    }

    fn answer_to(&self, body: &[u8]) -> Answer {
        let rules = self.rules();
        let holds = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        let exception = rules.exceptions.iter().rev().find(|(text, _)| holds(text));
        exception.map_or(rules.answer, |(_, answer)| *answer)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Until the connection ends.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut unread).await {
        let answer = shared.answer_to(&body);
        let arrival = Arrival { at: Clock::System.now(), head, body, taken: answer.takes() };
        shared.arrivals().push(arrival);
        let Answer::Status(status, after) = answer else { return };
        if !after.is_zero() {
            sleep(after).await;
        }
        let answer = format!("HTTP/1.1 {status} .\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request: its head and its body. `None` at the end of the connection, or if it is too large.
pub(super) async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<(String, Bytes)> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if unread.len() > LONGEST_HEAD || stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&unread[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or_default();
    if length > LONGEST_BODY {
        return None;
    }
    let whole = end + length;
    while unread.len() < whole {
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let rest = unread.split_off(whole);
    let body = Bytes::from(std::mem::replace(unread, rest).split_off(end));
    Some((head, body))
}

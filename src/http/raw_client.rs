//! A client for tests that sends the bytes it is given, right or wrong, and reads what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer of a test takes this long: it fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener is up");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    /// Whether the bytes could be sent: not if the connection was closed.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next answer; `None` if the connection ends before it does.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        timeout(PATIENCE, self.read_response()).await.expect("an answer in time")
    }

    /// Until the server closes; what it sent before is dropped.
    pub(crate) async fn closed(&mut self) {
        let mut sink = tokio::io::sink();
        let end = timeout(PATIENCE, tokio::io::copy(&mut self.stream, &mut sink));
        // A reset is an end, too.
        let _ = end.await.expect("the connection is closed in time");
    }

    async fn read_response(&mut self) -> Option<Response> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head: Vec<u8> = self.unread.drain(..head_end).collect();
        let head = String::from_utf8(head).expect("a head of ASCII").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: String::new() };
        let length = response.header("content-length").map_or(0, |n| n.parse().expect("a length"));
        while self.unread.len() < length {
            self.read_more().await?;
        }
        let body = self.unread.drain(..length).collect();
        response.body = String::from_utf8(body).expect("a body of UTF-8");
        Some(response)
    }

    async fn read_more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

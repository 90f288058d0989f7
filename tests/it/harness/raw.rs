//! [`Raw`]: a connection on which the test writes every byte, for what no HTTP client does.

use std::net::SocketAddr;

use offhook::lab::wire::Connection;
use tokio::time::timeout;

use super::DEADLINE;
use super::callback::Callback;

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw(Connection);

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(Connection::open(address).await.expect("something listens"))
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write(bytes.as_ref()).await.expect("the other side takes it");
    }

    /// The head of a callback, with these lines instead of its length.
    pub(crate) async fn write_head(&mut self, callback: &Callback, lines: &str) {
        let mut head = format!("{} {} HTTP/1.1\r\n", callback.method(), callback.target());
        head.push_str("host: elsewhere.example\r\n");
        for (name, value) in callback.headers() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.write(format!("{head}{lines}\r\n")).await;
    }

    /// Reads until this has come, and leaves it unread.
    pub(crate) async fn read_until(&mut self, part: &str) -> String {
        let read = timeout(DEADLINE, self.0.read_until(part)).await;
        let read = read.unwrap_or_else(|_| panic!("no {part:?} comes"));
        read.unwrap_or_else(|error| panic!("it closes before {part:?}: {error}"))
    }

    /// Reads until the other side closes.
    pub(crate) async fn read_to_end(mut self) -> String {
        timeout(DEADLINE, self.0.read_to_end()).await.expect("it closes")
    }
}

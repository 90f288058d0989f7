//! [`Raw`]: a connection on which every byte is ours, for what no HTTP client does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DEADLINE;
use super::callback::Callback;

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the other side takes it");
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

    /// Reads until there is this.
    pub(crate) async fn read_until(&mut self, part: &str) -> String {
        let reading = async {
            loop {
                let text = String::from_utf8_lossy(&self.read);
                if let Some(at) = text.find(part) {
                    return text[..at + part.len()].to_owned();
                }
                let read = self.stream.read_buf(&mut self.read).await;
                assert_ne!(read.ok(), Some(0), "it closes after {:?}", text_of(&self.read));
            }
        };
        timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("no {part:?} comes"))
    }

    /// Reads until the other side closes.
    pub(crate) async fn read_to_end(mut self) -> String {
        let reading = async {
            // A reset after the answer is an end, too.
            while !matches!(self.stream.read_buf(&mut self.read).await, Ok(0) | Err(_)) {}
        };
        timeout(DEADLINE, reading).await.expect("it closes");
        text_of(&self.read)
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

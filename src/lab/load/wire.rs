//! [`Connection`]: as much of HTTP/1.1 as it takes to ask again and again.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer: those to callbacks have some hundred bytes.
const LONGEST: usize = 64 * 1024;
/// Room for the usual answer in one read.
const ROOM: usize = 4096;

/// A connection that is kept alive.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What came back; nobody wants its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether another request may follow.
    pub(super) keep_alive: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::with_capacity(ROOM) })
    }

    /// Sends a request, and reads all of its answer.
    ///
    /// # Errors
    /// The connection ends, or what comes is no answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = Head::parse(&self.unread)? {
                break head;
            }
            self.read().await?;
        };
        while self.unread.len() < head.end {
            self.read().await?;
        }
        self.unread.drain(..head.end);
        Ok(head.answer)
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.unread.len() > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.unread.reserve(ROOM);
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The head of an answer.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    answer: Answer,
    /// Where the body ends.
    end: usize,
}

impl Head {
    /// `None` if there is more to come.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
            return Ok(None);
        };
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(malformed)?;
        let (mut length, mut keep_alive) = (0, true);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().map_err(|_| malformed())?;
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                // No server chunks an answer of a few bytes whose length it knows.
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
        let end = end.saturating_add(END.len()).saturating_add(length);
        Ok(Some(Self { answer: Answer { status, keep_alive }, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Option<(u16, bool, usize)>) {
        let head = Head::parse(bytes.as_bytes()).expect("well-formed");
        let head = head.map(|head| (head.answer.status, head.answer.keep_alive, head.end));
        assert_eq!(head, expected, "{bytes:?}");
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<Response/>", Some((200, true, 50)));
        check(
            "HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\n\r\n",
            Some((503, false, 55)),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, true, 27)));
        check("HTTP/1.1 200 OK\r\nContent-Le", None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bytes in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(Head::parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}

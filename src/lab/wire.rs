//! [`Connection`]: as much of HTTP/1.1 as it takes to send bytes, right or wrong, and to read what comes
//! back. The only reader of raw HTTP: the load, the torture's hostile clients and the tests share it.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer that is read: those to callbacks have some hundred bytes, pages of the console some
/// ten thousand.
const LONGEST: usize = 1024 * 1024;
/// Room for the usual answer in one read.
const ROOM: usize = 4096;

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What came back, without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reply {
    status: u16,
    /// Whether another request may follow.
    keep_alive: bool,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Response {
    /// The value of a header, whose name is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nothing listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::with_capacity(ROOM) })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection ends.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request, and reads all of its answer.
    async fn ask(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.write(request).await?;
        let head = self.read_answer().await?;
        self.unread.drain(..head.end);
        Ok(head.reply)
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// The connection ends, or what comes is not an answer.
    pub async fn response(&mut self) -> io::Result<Response> {
        let head = self.read_answer().await?;
        let answer: Vec<u8> = self.unread.drain(..head.end).collect();
        let answer = String::from_utf8(answer).map_err(|_| malformed())?;
        let (head_text, body) = answer.split_at(head.body);
        let (status, body) = (head.reply.status, body.to_owned());
        Ok(Response { status, head: head_text.to_ascii_lowercase(), body })
    }

    /// Reads until this text has come, and leaves it unread; what came up to its end.
    ///
    /// # Errors
    /// The connection ends before it.
    pub async fn read_until(&mut self, text: &str) -> io::Result<String> {
        let end = loop {
            let mut places = self.unread.windows(text.len());
            if let Some(at) = places.position(|window| window == text.as_bytes()) {
                break at + text.len();
            }
            self.read().await?;
        };
        Ok(String::from_utf8_lossy(&self.unread[..end]).into_owned())
    }

    /// Reads until the server closes the connection, by a reset as well; all that came and was not read.
    pub async fn read_to_end(&mut self) -> String {
        while self.read().await.is_ok() {}
        let all = std::mem::take(&mut self.unread);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Waits until the server closes the connection, by a reset as well; drops what comes before.
    pub async fn closed(&mut self) {
        // A reset is an end, too.
        let _ = tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await;
    }

    async fn read_answer(&mut self) -> io::Result<Head> {
        let head = loop {
            if let Some(head) = Head::parse(&self.unread)? {
                break head;
            }
            self.read().await?;
        };
        while self.unread.len() < head.end {
            self.read().await?;
        }
        Ok(head)
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.unread.len() > LONGEST {
            return Err(malformed());
        }
        self.unread.reserve(ROOM);
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Sends a request over the connection that is open, or over a new one, and keeps it open if the server
/// does; the status of the answer.
///
/// # Errors
/// Nothing listens there, the connection ends, or what comes is not an answer.
pub async fn exchange(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    request: &[u8],
) -> io::Result<u16> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address).await?,
    };
    let reply = open.ask(request).await?;
    *connection = reply.keep_alive.then_some(open);
    Ok(reply.status)
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The head of an answer.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    reply: Reply,
    /// Where the body starts.
    body: usize,
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
        let body = end + END.len();
        let end = body.saturating_add(length);
        Ok(Some(Self { reply: Reply { status, keep_alive }, body, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Option<(u16, bool, usize)>) {
        let head = Head::parse(bytes.as_bytes()).expect("well-formed");
        let head = head.map(|head| (head.reply.status, head.reply.keep_alive, head.end));
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

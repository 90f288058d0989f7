//! A client for unit tests: a [`Connection`] that fails the test where it could hang.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::wire::Connection;
pub(crate) use super::wire::Response;

/// No answer of a test takes this long: it fails rather than hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client(Connection);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(Connection::open(address).await.expect("the listener is up"))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write(bytes.as_ref()).await.expect("the server reads");
    }

    /// Whether the bytes could be sent: not if the connection was closed.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write(bytes).await.is_ok()
    }

    /// The next answer; `None` if the connection ends before it does.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        let response = timeout(ANSWER_TIMEOUT, self.0.response()).await;
        match response.expect("an answer in time") {
            Err(error) if error.kind() == ErrorKind::InvalidData => panic!("not an answer"),
            response => response.ok(),
        }
    }

    /// The head of the next answer: all that can be waited for of one that is streamed.
    pub(crate) async fn head(&mut self) -> String {
        let head = timeout(ANSWER_TIMEOUT, self.0.read_until("\r\n\r\n")).await;
        head.expect("an answer in time").expect("an answer")
    }

    /// Until the server closes; what it sent before is dropped.
    pub(crate) async fn closed(&mut self) {
        let end = timeout(ANSWER_TIMEOUT, self.0.closed());
        end.await.expect("the connection is closed in time");
    }
}

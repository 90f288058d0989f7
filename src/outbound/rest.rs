//! [`Rest`]: the client of Twilio's REST API.
//!
//! A request is made once: only a failure to connect proves that nothing was sent, so nothing here tries again.

mod incoming;

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::ExposeSecret as _;

use super::config::Credentials;
use crate::clock::Clock;
use crate::http::client::{self, Unbuildable};
use crate::twilio::rest::{
    Answer, CreateAnswer, Created as What, Doubt, Message, Page, ReadAnswer, cancel_form, path,
};

/// Most bytes of an answer. A page of a list has 100 messages of at most 1,600 characters.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;
/// A connection that is idle for longer is not used again.
pub(super) const IDLE: Duration = Duration::from_secs(4);

/// Asks Twilio. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rest {
    client: Client,
    base: String,
    clock: Clock,
}

/// What came of a create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Created {
    /// No connection came about: nothing was sent.
    Unsent,
    /// Something was sent, and this is known.
    Answered(CreateAnswer),
}

/// The whole of an answer.
pub(super) struct Whole {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Whole {
    /// A header that is a text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn answer(&self) -> Answer<'_> {
        let retry_after = self.header(RETRY_AFTER.as_str());
        Answer { status: self.status, retry_after, body: &self.body }
    }
}

impl Created {
    /// What is known if there was no answer.
    pub(super) fn unanswered(error: &reqwest::Error) -> Self {
        match () {
            () if error.is_connect() => Self::Unsent,
            () if error.is_timeout() => Self::Answered(CreateAnswer::Unknown(Doubt::TimedOut)),
            () => Self::Answered(CreateAnswer::Unknown(Doubt::Disconnected)),
        }
    }
}

impl Rest {
    /// A client of the API at `base`, whose requests take at most `timeout`, and of which `in_flight` are made at a time.
    ///
    /// # Errors
    /// The system's root certificates cannot be read.
    pub fn new(
        base: &str,
        timeout: Duration,
        in_flight: usize,
        clock: Clock,
    ) -> Result<Self, Unbuildable> {
        let idle = client::Idle { longest: IDLE, most: in_flight };
        let client = client::to_one_server(timeout, idle, None)?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), clock })
    }

    /// Creates a message or a call from a form.
    pub async fn create(
        &self,
        what: What,
        account: &str,
        by: &Credentials,
        form: String,
    ) -> Created {
        let path = match what {
            What::Message => path::messages(account),
            What::Call => path::calls(account),
        };
        match whole(authorized(self.post(&path, form), by)).await {
            Ok(whole) => Created::Answered(whole.answer().to_create(what, self.clock.now())),
            Err(error) => Created::unanswered(&error),
        }
    }

    /// Cancels a call that is queued or rings. To try that again does no harm.
    pub async fn cancel_call(
        &self,
        account: &str,
        by: &Credentials,
        sid: &str,
    ) -> ReadAnswer<Message> {
        let request = self.post(&path::call(account, sid), cancel_form().to_owned());
        match whole(authorized(request, by)).await {
            Ok(whole) => whole.answer().to_fetch(What::Call, self.clock.now()),
            Err(_) => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    fn post(&self, path: &str, form: String) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.base));
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
    }

    /// A page of the messages, or of the calls, to an address: the first one, or one that another page names.
    pub async fn list(
        &self,
        what: What,
        account: &str,
        by: &Credentials,
        to: &str,
        next: Option<&str>,
    ) -> ReadAnswer<Page> {
        let first = || match what {
            What::Message => path::messages_to(account, to),
            What::Call => path::calls_to(account, to),
        };
        let answer = self.get(by, &next.map_or_else(first, str::to_owned)).await;
        match answer {
            Some(whole) => whole.answer().to_list(what, account, self.clock.now()),
            None => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    /// One message, or one call.
    pub async fn fetch(
        &self,
        what: What,
        account: &str,
        by: &Credentials,
        sid: &str,
    ) -> ReadAnswer<Message> {
        let path = match what {
            What::Message => path::message(account, sid),
            What::Call => path::call(account, sid),
        };
        match self.get(by, &path).await {
            Some(whole) => whole.answer().to_fetch(what, self.clock.now()),
            None => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    /// Whether an account may be asked with these credentials, which costs nothing: its status, if they show it.
    ///
    /// An API key may read messages, and not the account.
    pub async fn try_out(&self, account: &str, by: &Credentials) -> ReadAnswer<Option<String>> {
        let now = self.clock.now();
        let (is_key, path) = match by.user.starts_with("SK") {
            true => (true, path::newest_message(account)),
            false => (false, path::account(account)),
        };
        match self.get(by, &path).await {
            Some(whole) if is_key => {
                whole.answer().to_list(What::Message, account, now).map(|_| None)
            }
            Some(whole) => whole.answer().to_account(now).map(Some),
            None => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    async fn get(&self, by: &Credentials, path: &str) -> Option<Whole> {
        let request = self.client.get(format!("{}{path}", self.base));
        whole(authorized(request, by)).await.ok()
    }
}

fn authorized(request: RequestBuilder, by: &Credentials) -> RequestBuilder {
    request.basic_auth(&by.user, Some(by.password.expose_secret()))
}

/// Sends it, and reads the answer. What is longer than it may be is cut off, and then cannot be read as JSON.
pub(super) async fn whole(request: RequestBuilder) -> Result<Whole, reqwest::Error> {
    let mut response: Response = request.send().await?;
    let headers = response.headers().clone();
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            break;
        }
    }
    Ok(Whole { status, headers, body })
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::timeout;

    use super::*;

    /// As behind a firewall that drops packets: the other end does not answer at all.
    #[tokio::test]
    async fn what_never_connected_was_not_sent_although_nothing_said_so() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        // No one accepts, and with a full queue the system drops what asks for a connection.
        let listener = socket.listen(1).expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let mut queue = Vec::new();
        while let Ok(connected) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            queue.push(connected.expect("there is room"));
            assert!(queue.len() < 64, "the queue has no end");
        }
        let within = Duration::from_secs(2);
        let rest = Rest::new(&format!("http://{address}"), within, 1, Clock::System)
            .expect("the system has certificates");
        let by = Credentials { user: "SK1".to_owned(), password: "s3cret".into() };
        let created = rest.create(What::Message, "AC1", &by, String::new()).await;
        assert_eq!(created, Created::Unsent);
        drop((queue, listener));
    }
}

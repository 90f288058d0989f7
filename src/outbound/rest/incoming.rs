//! What receives calls and messages: the numbers and the Messaging Services of an account. Each of these requests may be
//! repeated: an update says what a URL is to be.

use reqwest::header::CONTENT_TYPE;

use super::{Rest, authorized, whole};
use crate::outbound::config::Credentials;
use crate::twilio::rest::{Incoming, IncomingPage, ReadAnswer, What, path};

impl Rest {
    /// A page of the numbers of an account: the first one, or one that another page names. With `like` only of those
    /// that contain it.
    pub async fn numbers(
        &self,
        account: &str,
        by: &Credentials,
        like: Option<&str>,
        next: Option<&str>,
    ) -> ReadAnswer<IncomingPage> {
        let first = || path::first_numbers(account, like);
        let answer = self.get(by, &next.map_or_else(first, str::to_owned)).await;
        match answer {
            Some(whole) => whole.answer().to_numbers(account, self.clock.now()),
            None => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    /// A page of the Messaging Services of the account that the credentials are of: the first one, or one that another
    /// page names.
    pub async fn services(&self, by: &Credentials, next: Option<&str>) -> ReadAnswer<IncomingPage> {
        let base = path::messaging(&self.base);
        let path = next.map_or_else(path::first_services, str::to_owned);
        let request = authorized(self.client.get(format!("{base}{path}")), by);
        match whole(request).await {
            Ok(whole) => whole.answer().to_services(&base, self.clock.now()),
            Err(_) => ReadAnswer::Failed { status: 0, code: None },
        }
    }

    /// A number or a Messaging Service as it is now.
    pub async fn incoming(&self, by: &Credentials, which: &Incoming) -> ReadAnswer<Incoming> {
        let request = self.client.get(self.url(which));
        self.one(which.what, authorized(request, by)).await
    }

    /// Updates one of them by a form, and returns what it has become.
    pub async fn update(
        &self,
        by: &Credentials,
        which: &Incoming,
        form: String,
    ) -> ReadAnswer<Incoming> {
        let request = self.client.post(self.url(which));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        self.one(which.what, authorized(request, by)).await
    }

    fn url(&self, which: &Incoming) -> String {
        match which.what {
            What::Number => format!("{}{}", self.base, path::number(&which.account, &which.sid)),
            What::MessagingService => {
                format!("{}{}", path::messaging(&self.base), path::service(&which.sid))
            }
        }
    }

    async fn one(&self, what: What, request: reqwest::RequestBuilder) -> ReadAnswer<Incoming> {
        match whole(request).await {
            Ok(whole) => whole.answer().to_incoming(what, self.clock.now()),
            Err(_) => ReadAnswer::Failed { status: 0, code: None },
        }
    }
}

//! [`Asker`]: what Twilio says of the numbers and Messaging Services of each account, page by page, and how it is asked
//! to change one.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::config::{Access, Api, ApiAccount};
use crate::http::client::Unbuildable;
use crate::outbound::rest::Rest;
use crate::retry::Backoff;
use crate::twilio::rest::{Field, Incoming, IncomingPage, ReadAnswer, path, update_form};

/// Most pages of a list, of 100 each.
const MOST_PAGES: usize = 200;
/// How often a request is made while Twilio has too many.
const TRIES: u32 = 5;
/// Longest wait between two of them: a person is waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Asks about the accounts of a configuration.
pub(in crate::cli) struct Asker<'a> {
    rest: Rest,
    api: &'a Api,
}

/// One of them, and with what it is asked about.
pub(in crate::cli) struct Found<'a> {
    pub(super) account: &'a ApiAccount,
    access: &'a Access,
    pub(in crate::cli) incoming: Incoming,
}

/// Why an account could not be asked, and the fix.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Failure {
    account: String,
    account_name: String,
    problem: String,
    fix: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, account_name, problem, fix } = self;
        write!(f, "account {account_name} ({account}): {problem}; {fix}")
    }
}

/// What an answer means that is not the one that was hoped for.
enum Bad {
    Answer(ReadAnswer<()>),
    TooMany,
}

impl<'a> Asker<'a> {
    pub(in crate::cli) fn new(api: &'a Api, clock: Clock) -> Result<Self, Unbuildable> {
        Ok(Self { rest: Rest::new(&api.url, api.timeout, 1, clock)?, api })
    }

    /// Those of all accounts, and which accounts could not be asked.
    pub(in crate::cli) async fn all(&self) -> (Vec<Found<'a>>, Vec<Failure>) {
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for account in &self.api.accounts {
            match self.of_account(account, None).await {
                Ok(more) => found.extend(more),
                Err(failure) => failed.push(failure),
            }
        }
        (found, failed)
    }

    /// The number, or the Messaging Service of this SID, if an account has it; and which accounts could not be asked.
    pub(super) async fn find(&self, id: &str) -> (Option<Found<'a>>, Vec<Failure>) {
        let mut failed = Vec::new();
        for account in &self.api.accounts {
            match self.of_account(account, Some(id)).await {
                Ok(more) => {
                    // Twilio also lists numbers that contain it.
                    if let Some(found) = more.into_iter().find(|it| it.incoming.id() == id) {
                        return (Some(found), failed);
                    }
                }
                Err(failure) => failed.push(failure),
            }
        }
        (None, failed)
    }

    async fn of_account(
        &self,
        account: &'a ApiAccount,
        only: Option<&str>,
    ) -> Result<Vec<Found<'a>>, Failure> {
        let Some(access) = &account.access else { return Err(without_access(account)) };
        let by = &access.credentials;
        let mut all = Vec::new();
        if only.is_none_or(|only| only.starts_with('+')) {
            let page = async |next: Option<String>| {
                self.rest.numbers(&account.sid, by, only, next.as_deref()).await
            };
            let bad = |bad| self.failure(account, access, &self.api.url, bad);
            all.extend(pages(page).await.map_err(bad)?);
        }
        if only.is_none_or(|only| !only.starts_with('+')) && access.is_of(&account.sid) {
            let page = async |next: Option<String>| self.rest.services(by, next.as_deref()).await;
            let url = path::messaging(&self.api.url);
            all.extend(pages(page).await.map_err(|bad| self.failure(account, access, &url, bad))?);
        }
        Ok(all.into_iter().map(|incoming| Found { account, access, incoming }).collect())
    }

    /// One of them as it is now.
    pub(super) async fn now(&self, which: &Found<'_>) -> Result<Incoming, Failure> {
        let by = &which.access.credentials;
        let answer = patiently(async || self.rest.incoming(by, &which.incoming).await).await;
        self.one(which, answer)
    }

    /// Sets these URLs of it.
    pub(super) async fn set(
        &self,
        which: &Found<'_>,
        urls: &[(Field, &str)],
    ) -> Result<(), Failure> {
        let by = &which.access.credentials;
        let answer = patiently(async || {
            let form = update_form(which.incoming.what, urls.iter().copied());
            self.rest.update(by, &which.incoming, form).await
        });
        let now = self.one(which, answer.await)?;
        let is_set = |field| now.hook(field).is_some_and(|hook| hook.url.is_some());
        if urls.iter().all(|(field, _)| is_set(*field)) {
            return Ok(());
        }
        let problem = format!("Twilio has not kept the URLs of {}", now.id());
        Err(of(which.account, problem, "look at it in Twilio's console".to_owned()))
    }

    fn one(&self, which: &Found<'_>, answer: ReadAnswer<Incoming>) -> Result<Incoming, Failure> {
        match answer {
            ReadAnswer::Found(incoming) => Ok(incoming),
            other => {
                let bad = Bad::Answer(other.map(|_| ()));
                Err(self.failure(which.account, which.access, &self.api.url, bad))
            }
        }
    }

    fn failure(&self, account: &ApiAccount, access: &Access, url: &str, bad: Bad) -> Failure {
        /// Twilio's codes of credentials that it does not know, or that may not do this.
        const CREDENTIALS: [&str; 4] = ["20003", "20006", "20008", "20403"];
        const NOT_ACTIVE: &str = "20005";
        let what = if access.is_key() { "the API key" } else { "the auth token" };
        let code_of = |code: Option<String>| code.map_or_else(String::new, |it| format!(", {it}"));
        let (problem, fix) = match bad {
            Bad::TooMany => (
                format!("it has more than {} of them", MOST_PAGES * path::PAGE_SIZE),
                "look at the others in Twilio's console".to_owned(),
            ),
            Bad::Answer(ReadAnswer::Failed { status: 0, .. }) => (
                format!("{url} does not answer"),
                "let this machine connect to it: look at DNS and the firewall, or fix twilio.api_url"
                    .to_owned(),
            ),
            Bad::Answer(ReadAnswer::Failed { code: Some(code), .. }) if code == NOT_ACTIVE => (
                format!("it is not active ({code})"),
                "look at the account in Twilio's console".to_owned(),
            ),
            Bad::Answer(ReadAnswer::Failed { status, code })
                if matches!(status, 401 | 403)
                    || code.as_deref().is_some_and(|code| CREDENTIALS.contains(&code)) =>
            {
                let code = code_of(code);
                let fix = format!("replace {}", access.keys);
                let rights = match access.is_key() {
                    true => ", or let the key read and update phone numbers and Messaging Services",
                    false => "",
                };
                (format!("Twilio refuses {what} (HTTP {status}{code})"), fix + rights)
            }
            Bad::Answer(ReadAnswer::Failed { status, code }) => (
                format!("{url} answers with HTTP {status}{}", code_of(code)),
                "run this again; twilio.api_url must be Twilio's API, without a path".to_owned(),
            ),
            Bad::Answer(ReadAnswer::Throttled { retry_after }) => {
                let wait = retry_after.map(|wait| format!(" in {} s", wait.as_secs()));
                (
                    "Twilio has too many requests of it (429)".to_owned(),
                    format!("run this again{}", wait.unwrap_or_else(|| " later".to_owned())),
                )
            }
            Bad::Answer(ReadAnswer::Missing | ReadAnswer::Found(())) => (
                format!("{url} has no such account or number"),
                "fix the sid of the [[account]], or twilio.api_url".to_owned(),
            ),
        };
        of(account, problem, fix)
    }
}

fn of(account: &ApiAccount, problem: String, fix: String) -> Failure {
    Failure { account: account.sid.clone(), account_name: account.name.clone(), problem, fix }
}

fn without_access(account: &ApiAccount) -> Failure {
    let fix = "give its [[account]] an auth token, or a [[sender]] of it an api_key_sid and api_key_secret";
    of(account, "nothing is configured to ask Twilio with".to_owned(), fix.to_owned())
}

/// All pages, from the first to the last.
async fn pages(
    page: impl AsyncFn(Option<String>) -> ReadAnswer<IncomingPage>,
) -> Result<Vec<Incoming>, Bad> {
    let (mut all, mut next) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let found = match patiently(async || page(next.clone()).await).await {
            ReadAnswer::Found(found) => found,
            other => return Err(Bad::Answer(other.map(|_| ()))),
        };
        all.extend(found.found);
        next = found.next;
        if next.is_none() {
            return Ok(all);
        }
    }
    Err(Bad::TooMany)
}

/// Asks again while Twilio has too many requests, for as long as it says, within bounds.
async fn patiently<T>(ask: impl AsyncFn() -> ReadAnswer<T>) -> ReadAnswer<T> {
    let mut backoff = Backoff::default();
    for _ in 1..TRIES {
        let answer = ask().await;
        let ReadAnswer::Throttled { retry_after } = answer else { return answer };
        let wait = retry_after.unwrap_or_else(|| backoff.next_wait());
        if wait > LONGEST_WAIT {
            return ReadAnswer::Throttled { retry_after };
        }
        sleep(wait).await;
    }
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_throttle_is_waited_for_within_bounds() {
        let check = async |throttles: u32, retry_after: Option<u64>, expected: (bool, u32)| {
            let tries = Cell::new(0);
            let retry_after = retry_after.map(Duration::from_secs);
            let answer = patiently(async || {
                tries.set(tries.get() + 1);
                match tries.get() <= throttles {
                    true => ReadAnswer::Throttled { retry_after },
                    false => ReadAnswer::Found(()),
                }
            });
            let found = answer.await == ReadAnswer::Found(());
            assert_eq!((found, tries.get()), expected);
        };
        check(0, None, (true, 1)).await;
        check(1, None, (true, 2)).await;
        check(4, Some(0), (true, 5)).await;
        check(5, Some(0), (false, 5)).await;
        check(1, Some(61), (false, 1)).await;
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_given_up() {
        let endless = async |_| {
            let next = Some("/v1/Services?Page=1".to_owned());
            ReadAnswer::Found(IncomingPage { found: Vec::new(), next })
        };
        assert!(matches!(pages(endless).await, Err(Bad::TooMany)));
    }
}

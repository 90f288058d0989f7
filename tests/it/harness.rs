//! offhook as its users have it: over HTTP, in this process ([`Offhook`]) or as one of its own
//! ([`Spawned`]), with callbacks that are signed as Twilio signs them ([`Callback`]).

mod callback;
mod log;
mod offhook;
mod program;
mod raw;
mod settings;
mod spawned;
mod testbed;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use self::callback::{Callback, Signature, fixture};
pub(crate) use self::log::{copy_all, settled};
pub(crate) use self::offhook::{Client, Offhook, header, install_cryptography};
pub(crate) use self::program::{Ended, program, run};
pub(crate) use self::raw::Raw;
pub(crate) use self::settings::{ACCOUNT, OTHER_ACCOUNT, OTHER_TOKEN, PUBLIC_URL, Settings, TOKEN};
pub(crate) use self::spawned::Spawned;
pub(crate) use self::testbed::{Contents, Mode, Services, Testbed, both_modes, every_mode};

/// What has not happened by then never will, however busy the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// Asks again and again until there is an answer: less and less often, so that a test that waits for long leaves
/// the processor to those beside it, and what it waits for.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    /// Short against everything that is waited for, long against the work of asking.
    const SHORTEST: Duration = Duration::from_millis(10);
    /// Short against all that does not stay as it is.
    const LONGEST: Duration = Duration::from_millis(50);
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        let waited = began.elapsed();
        assert!(waited < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        sleep((waited / 20).clamp(SHORTEST, LONGEST)).await;
    }
}

//! Clients that mean no good, beside callbacks that must not suffer from them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::lab::torture::Run;
use crate::lab::torture::load::Volume;
use crate::lab::torture::report::Report;
use crate::lab::torture::testbed::{Setup, Testbed};
use crate::lab::torture::trial::Trial;
use crate::lab::wire::{Connection, exchange};

/// Connections whose requests come a byte at a time.
pub(super) async fn slowloris(name: String, run: &Run) -> anyhow::Result<Report> {
    const CONNECTIONS: usize = 2000;
    raise_file_limit(2 * CONNECTIONS as u64)?;
    let volume = Volume { rate: 1000, ..Volume::default() };
    let testbed = Testbed::prepare(run, &Setup { volume, ..Setup::default() })?;
    let mut trial = Trial::begin(name, run, testbed).await?;
    let target = trial.testbed.targets.first().context("it was just started")?;
    let (opened, mut slow) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..CONNECTIONS {
        slow.spawn(drip(target, Arc::clone(&opened)));
    }
    sleep(trial.duration()).await;
    trial.tell("slow_connections", CONNECTIONS);
    // The system may drop the first packet of one where many come at once, and its sender waits for seconds.
    let all = async {
        while opened.load(Ordering::Relaxed) < CONNECTIONS {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let _late = timeout(Duration::from_secs(10), all).await;
    let opened = opened.load(Ordering::Relaxed);
    trial.tell("opened", opened);
    if opened < CONNECTIONS {
        trial.fail(format!("{opened} of {CONNECTIONS} slow connections were opened"));
    }
    let result = nobody_suffered(trial).await;
    drop(slow);
    result
}

/// Requests without a signature, or with one that is made up, as fast as they can be sent.
pub(super) async fn flood(name: String, run: &Run) -> anyhow::Result<Report> {
    /// In a minute; fewer in less.
    const REQUESTS: usize = 100_000;
    const CONNECTIONS: usize = 32;
    let requests = REQUESTS.min(REQUESTS / 60 * run.duration.as_secs().max(1) as usize);
    let mut trial = Trial::begin(name, run, Testbed::prepare(run, &Setup::default())?).await?;
    let target = trial.testbed.targets.first().context("it was just started")?;
    let (left, mut senders) = (Arc::new(AtomicUsize::new(requests)), JoinSet::new());
    for _ in 0..CONNECTIONS {
        senders.spawn(pour(target, Arc::clone(&left)));
    }
    let refused: usize = senders.join_all().await.into_iter().sum();
    trial.tell("unsigned", requests);
    trial.tell("unsigned_refused", refused);
    if refused != requests {
        trial.fail(format!("{} unsigned requests were not refused", requests - refused));
    }
    nobody_suffered(trial).await
}

/// Forms of 64 kB that name an account and are not signed by it, with all that makes them expensive to
/// check: an account of two tokens among twenty, other writings of the URL, invalid UTF-8, many unsorted
/// parameters.
pub(super) async fn forgeries(name: String, run: &Run) -> anyhow::Result<Report> {
    const CONNECTIONS: usize = 100;
    const ACCOUNTS: usize = 20;
    let volume = Volume { rate: 100, ..Volume::default() };
    let mut testbed = Testbed::prepare(run, &Setup { volume, ..Setup::default() })?;
    let file = testbed.directory().join("accounts.toml");
    let accounts = (1..=ACCOUNTS).map(|n| {
        format!(
            "[[account]]\nsid = 'AC{n:032x}'\nauth_tokens = ['{:032x}', '{:032x}']\n",
            0xa00 + n,
            0xb00 + n
        )
    });
    std::fs::write(&file, accounts.collect::<String>()).context("the file of accounts")?;
    testbed.set("OFFHOOK_CONFIG", &file.display().to_string());
    let mut trial = Trial::begin(name, run, testbed).await?;
    let target = trial.testbed.targets.first().context("it was just started")?;
    let (stop, mut forgers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..CONNECTIONS {
        forgers.spawn(forge(target, worst(1 + n % ACCOUNTS), Arc::clone(&stop)));
    }
    sleep(trial.duration()).await;
    stop.store(1, Ordering::Relaxed);
    let refused: usize = forgers.join_all().await.into_iter().sum();
    trial.tell("forged_refused", refused);
    if refused == 0 {
        trial.fail("no forged request was refused");
    }
    nobody_suffered(trial).await
}

/// A request that costs the most to refuse.
fn worst(account: usize) -> Vec<u8> {
    const PAIRS: usize = 900;
    const LENGTH: usize = 64 * 1024;
    let mut form = format!("AccountSid=AC{account:032x}&Bad=%FF");
    for n in (0..PAIRS).rev() {
        form.push_str(&format!("&n{n}=x"));
    }
    form.push_str("&z=");
    form.push_str(&"x".repeat(LENGTH - form.len()));
    let head = format!(
        "POST /status?x='&y=%27&z=+%20:%3A HTTP/1.1\r\nHost: hooks.example.com\r\n\
         X-Twilio-Signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    (head + &form).into_bytes()
}

/// Sends it as fast as it is refused, until a stop. Returns how often.
async fn forge(target: SocketAddr, request: Vec<u8>, stop: Arc<AtomicUsize>) -> usize {
    let (mut connection, mut refused) = (None, 0);
    while stop.load(Ordering::Relaxed) == 0 {
        if let Ok(status) = exchange(&mut connection, target, &request).await {
            refused += usize::from(status == 403);
        }
    }
    refused
}

/// Connections that send nothing, more than there are places.
pub(super) async fn silent(name: String, run: &Run) -> anyhow::Result<Report> {
    const PLACES: usize = 1000;
    const CONNECTIONS: usize = 1100;
    /// Less than the time after which a connection is closed for its silence.
    const LONGEST: Duration = Duration::from_secs(5);
    raise_file_limit(2 * CONNECTIONS as u64)?;
    // Each callback is the first of its connection, and must be read before that has to give way: before
    // as many more have come as there are places. So they come at a pace that leaves it seconds.
    let volume = Volume { rate: 100, keep_alive: false, ..Volume::default() };
    let mut testbed = Testbed::prepare(run, &Setup { volume, ..Setup::default() })?;
    testbed.set("OFFHOOK_INBOUND__MAX_CONNECTIONS", &PLACES.to_string());
    let mut trial = Trial::begin(name, run, testbed).await?;
    let target = trial.testbed.targets.first().context("it was just started")?;
    let (closed, mut clients) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..CONNECTIONS {
        clients.spawn(say_nothing(target, Arc::clone(&closed)));
        // In turns: more at once overflow the listener's backlog, and a client's kernel then tries again
        // after seconds.
        if n % 40 == 39 {
            sleep(Duration::from_millis(40)).await;
        }
    }
    sleep(trial.duration()).await;
    // A slow machine takes longer to open all of them.
    let gave_way = async {
        while closed.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(LONGEST, gave_way).await.is_err() {
        trial.fail("no connection gave way");
    }
    trial.tell("silent_connections", CONNECTIONS);
    trial.tell("places", PLACES);
    trial.tell("gave_way", closed.load(Ordering::Relaxed));
    let result = nobody_suffered(trial).await;
    drop(clients);
    result
}

/// Opens a connection, and another one when it is closed.
async fn say_nothing(target: SocketAddr, closed: Arc<AtomicUsize>) {
    const AGAIN: Duration = Duration::from_millis(500);
    loop {
        if let Ok(mut connection) = Connection::open(target).await {
            connection.closed().await;
            closed.fetch_add(1, Ordering::Relaxed);
        }
        sleep(AGAIN).await;
    }
}

/// Not one signed callback may be refused, or go without an answer.
async fn nobody_suffered(mut trial: Trial) -> anyhow::Result<Report> {
    trial.calm().await?;
    let tally = trial.load.tally();
    if let Some(why) = &tally.why_unknown {
        trial.fail(format!("{} signed callbacks were not answered: {why}", tally.unknown()));
    }
    trial.end().await
}

/// Opens a connection, and another one when it is closed. The first one counts.
async fn drip(target: SocketAddr, opened: Arc<AtomicUsize>) {
    const EVERY: Duration = Duration::from_millis(500);
    let mut is_first = true;
    loop {
        let Ok(mut connection) = Connection::open(target).await else {
            sleep(EVERY).await;
            continue;
        };
        opened.fetch_add(usize::from(std::mem::take(&mut is_first)), Ordering::Relaxed);
        let head = b"POST /status HTTP/1.1\r\nHost: hooks.example.com\r\nX-Slow: ";
        for byte in head.iter().chain(std::iter::repeat(&b'a')) {
            sleep(EVERY).await;
            if connection.write(std::slice::from_ref(byte)).await.is_err() {
                break;
            }
        }
    }
}

/// Sends requests on one connection while any are left; how many were refused as unsigned.
async fn pour(target: SocketAddr, left: Arc<AtomicUsize>) -> usize {
    const UNSIGNED: &[u8] = b"POST /status HTTP/1.1\r\nHost: hooks.example.com\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nA=1&B=2";
    const FORGED: &[u8] = b"POST /status HTTP/1.1\r\nHost: hooks.example.com\r\n\
        X-Twilio-Signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nA=1&B=2";
    let (mut connection, mut refused) = (None, 0);
    let take = |left: usize| left.checked_sub(1);
    while let Ok(left) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
        let request = if left % 2 == 0 { UNSIGNED } else { FORGED };
        // The server may close a connection that did nothing good.
        for _ in 0..3 {
            if let Ok(status) = exchange(&mut connection, target, request).await {
                refused += usize::from(matches!(status, 400 | 403));
                break;
            }
        }
    }
    refused
}

/// The receiver has a file for each connection, and so have we.
fn raise_file_limit(wanted: u64) -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = wanted + 1000;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        setrlimit(Resource::Nofile, limit).context("the limit of open files")?;
    }
    Ok(())
}

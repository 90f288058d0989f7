//! What people own: nothing of it is in logs and metrics, and everywhere else what `[privacy]` lets
//! be kept. Asked for marked values that went every way there is.

mod marked;

use std::path::{Path, PathBuf};

use offhook::config::Role;
use redis::cmd;
use reqwest::StatusCode;
use serde_json::Value;

use self::marked::{CALL, Marked, NUMBER, signatures};
use crate::harness::{
    ACCOUNT, Callback, Client, Mode, Offhook, Settings, Spawned, TOKEN, Testbed, both_modes, until,
};
use crate::services::{Durability, Redis, needs};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ADMIN_TOKEN: &str = "adminsecret0123456789";

/// Makes a dead letter of one of the callbacks.
const POISON: &str = "ALTER TABLE events ADD CONSTRAINT poison CHECK (kind <> 'debugger')";

both_modes! {
    no_log_and_no_metric_has_what_people_own,
    a_hashed_number_is_found_by_the_number,
    what_was_sent_is_treated_once_it_is_settled,
}

fn with_privacy(settings: &Settings, numbers: &str, names: &str, bodies: &str) -> Settings {
    let settings = settings.clone().set("OFFHOOK_PRIVACY__KEY", KEY);
    settings
        .set("OFFHOOK_PRIVACY__NUMBERS", numbers)
        .set("OFFHOOK_PRIVACY__NAMES", names)
        .set("OFFHOOK_PRIVACY__BODIES", bodies)
}

async fn send_all(client: &Client, marked: &Marked) {
    for callback in &marked.accepted {
        let answer = client.send(callback).await;
        assert_eq!(answer.status(), StatusCode::OK, "{callback}");
    }
}

/// How many events that is: one of them is an array of two.
fn events(marked: &Marked) -> usize {
    marked.accepted.len() + 1
}

/// Pages that people look at and that must have none of it.
async fn shown(client: &Client) -> Vec<(&'static str, String)> {
    let mut pages = Vec::new();
    for path in ["/metrics", "/readyz", "/api/stats", "/api/refusals", "/refusals", "/"] {
        let answer = client.admin_as(path, Some(ADMIN_TOKEN)).await;
        assert_ne!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        pages.push((path, answer.text().await.expect("the whole answer")));
    }
    pages
}

async fn no_log_and_no_metric_has_what_people_own(mut testbed: Testbed) {
    let marked = Marked::values();
    let settings = marked
        .configure(&testbed.settings)
        .set("OFFHOOK_LOG__FILTER", "trace")
        .set("OFFHOOK_ADMIN__TOKEN", ADMIN_TOKEN);
    let offhook = Spawned::start(&settings);
    // Once it can be read, there are tables.
    testbed.contents_with(&[]).await;
    let poisoned = testbed.mode() == Mode::ScaleOut;
    if poisoned {
        testbed.execute(POISON).await;
    }
    send_all(&offhook.client, &marked).await;
    for callback in marked.refused() {
        let answer = offhook.client.send(&callback).await;
        assert!(answer.status().is_client_error(), "{callback}: {}", answer.status());
    }
    testbed.contents_of(events(&marked) - usize::from(poisoned)).await;
    let mut seen = shown(&offhook.client).await;
    if poisoned {
        go_every_way(&mut testbed, &offhook, &marked).await;
        seen.extend(shown(&offhook.client).await);
        let receiver = full_receiver(&settings);
        for callback in &marked.accepted {
            let answer = receiver.client.send(callback).await;
            let fallback = callback.target().contains("fallback");
            assert_eq!(answer.status().as_u16(), if fallback { 200 } else { 503 }, "{callback}");
        }
        seen.extend(shown(&receiver.client).await);
        seen.push(("log of a full one", receiver.log()));
    }
    let log = offhook.log();
    for line in ["accepted a request", "refused a request", "wrong_signature"] {
        assert!(log.contains(line), "no `{line}`: it does not log what it is asked for");
    }
    seen.push(("log", log));
    let refused = marked.refused();
    let mut secrets = signatures(marked.accepted.iter().chain(&refused));
    secrets.extend([TOKEN, ADMIN_TOKEN].map(str::to_owned));
    for (what, text) in &seen {
        let line = |value: &str| text.lines().find(|line| line.contains(value)).map(str::to_owned);
        let owned = marked.found_in(text.as_bytes());
        assert!(owned.is_empty(), "{what} has {owned:?}: {:?}", line(owned[0]));
        for secret in &secrets {
            assert!(!text.contains(secret), "{what} has {secret}: {:?}", line(secret));
        }
    }
}

/// To dead letters, through the spool, and to a store that is away.
async fn go_every_way(testbed: &mut Testbed, offhook: &Spawned, marked: &Marked) {
    let mut garbage = cmd("XADD");
    garbage.arg("offhook:events").arg("*").arg("key").arg("CA1-x").arg("kind").arg("call");
    garbage.arg("account").arg(format!("+1{NUMBER}")).arg("body").arg("Thornbridgewords");
    testbed.redis().query::<String>(&garbage);
    reaches(offhook, "offhook_dead_letters_total", 2.0).await;
    testbed.redis().kill();
    send_all(&offhook.client, marked).await;
    reaches(offhook, "offhook_spool_events", 1.0).await;
    testbed.redis().restart();
    testbed.postgres().kill();
    offhook.client.accepts(&marked.another()).await;
    let errors = "offhook_commit_errors_total{backend=\"postgres\",error=\"transient\"}";
    reaches(offhook, errors, 1.0).await;
    testbed.postgres().restart();
}

async fn reaches(offhook: &Spawned, series: &str, least: f64) {
    until(series, async || {
        let value = offhook.client.metric_as(series, Some(ADMIN_TOKEN)).await;
        (value >= least).then_some(())
    })
    .await;
}

/// A receiver that cannot make anything durable.
fn full_receiver(settings: &Settings) -> Spawned {
    let settings = settings
        .clone()
        .set("REDIS_URL", "redis://127.0.0.1:1")
        .set("OFFHOOK_SPOOL__MAX_BYTES", "1")
        .with_role(Role::Receiver);
    Spawned::start(&settings)
}

/// Everything that is in the files below a directory, by their paths.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be read").map_while(Result::ok) {
        let (path, kind) = (entry.path(), entry.file_type().expect("it is there"));
        if kind.is_dir() {
            files.extend(self::files(&path));
        } else if kind.is_file() {
            // It may be gone by now.
            files.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
        }
    }
    files
}

/// Of plain ones every place has all values, or else one who looks for them there would find none
/// in any case. Of others no place has any.
fn check(place: &str, directory: &Path, marked: &Marked, plain: bool) {
    let files = files(directory);
    if plain {
        let all: Vec<u8> = files.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert!(marked.all_in(&all), "not in {place}: {:?}", marked.found_in(&all));
        return;
    }
    for (path, bytes) in &files {
        let owned = marked.found_in(bytes);
        assert!(owned.is_empty(), "{place} has {owned:?} in {}", path.display());
    }
}

const ALL_PLAIN: [&str; 3] = ["plain"; 3];
const NONE_PLAIN: [[&str; 3]; 2] = [["hash", "drop", "mask"], ["drop", "hash", "hash"]];

async fn embedded_files([numbers, names, bodies]: [&str; 3]) {
    let marked = Marked::new();
    let mut testbed = Testbed::embedded();
    testbed.settings = with_privacy(&marked.configure(&testbed.settings), numbers, names, bodies);
    let offhook = testbed.start();
    send_all(&offhook.client, &marked).await;
    testbed.contents_of(events(&marked)).await;
    let plain = numbers == "plain";
    check("SQLite", testbed.directory(), &marked, plain);
    if !plain {
        shows_nothing(&offhook.client, &marked).await;
    }
    offhook.stop().expect("it stops");
    check("SQLite, closed", testbed.directory(), &marked, plain);
}

#[tokio::test]
async fn what_may_not_be_kept_is_in_no_file_of_sqlite() {
    embedded_files(ALL_PLAIN).await;
    for treatments in NONE_PLAIN {
        embedded_files(treatments).await;
    }
}

fn redis_directory(redis: &Redis) -> PathBuf {
    redis.socket().parent().expect("it is in a directory").to_owned()
}

async fn scaled_files([numbers, names, bodies]: [&str; 3]) {
    let marked = Marked::new();
    let spool = tempfile::tempdir().expect("a temporary directory");
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    testbed.settings = with_privacy(&marked.configure(&testbed.settings), numbers, names, bodies)
        .set("OFFHOOK_SPOOL__DIRECTORY", spool.path().display().to_string());
    let (plain, offhook) = (numbers == "plain", testbed.start());
    // Once it can be read, there are tables.
    testbed.contents_with(&[]).await;
    testbed.execute(POISON).await;
    testbed.redis().kill();
    send_all(&offhook.client, &marked).await;
    check("the spool", spool.path(), &marked, plain);
    testbed.redis().restart();
    testbed.contents_of(events(&marked) - 1).await;
    until("one is a dead letter", async || {
        (offhook.client.metric("offhook_dead_letters_total").await == 1.0).then_some(())
    })
    .await;
    testbed.execute("CHECKPOINT").await;
    check("Redis", &redis_directory(testbed.redis()), &marked, plain);
    check("Postgres", testbed.postgres().directory(), &marked, plain);
    if !plain {
        shows_nothing(&offhook.client, &marked).await;
    }
}

#[tokio::test]
async fn what_may_not_be_kept_is_in_no_file_of_redis_postgres_and_the_spool() {
    needs!(Redis, Postgres);
    scaled_files(ALL_PLAIN).await;
    for treatments in NONE_PLAIN {
        scaled_files(treatments).await;
    }
}

/// What the API and the console show of what is stored, and of what comes in.
async fn shows_nothing(client: &Client, marked: &Marked) {
    let mut live = client.admin("/api/live").await;
    let mut pages = vec![];
    client.accepts(&marked.another()).await;
    let mut watched = Vec::new();
    while memchr::memmem::find(&watched, b"-busy").is_none() {
        watched.extend(live.chunk().await.expect("it goes on").expect("it goes on"));
    }
    pages.push(("/api/live".to_owned(), watched));
    let paths =
        ["/api/events", "/api/statuses", "/api/dead-letters", "/dead-letters", "/search", "/"];
    let of_call = [format!("/api/timeline/{CALL}"), format!("/sid/{CALL}")];
    for path in paths.map(str::to_owned).into_iter().chain(of_call) {
        let text = client.admin(&path).await.text().await.expect("the whole answer");
        pages.push((path, text.into_bytes()));
    }
    for (page, bytes) in pages {
        let owned = marked.found_in(&bytes);
        assert!(owned.is_empty(), "{page} has {owned:?}: {}", String::from_utf8_lossy(&bytes));
    }
}

async fn sids(client: &Client, sought: &str) -> Vec<String> {
    let sought: String = form_urlencoded::byte_serialize(sought.as_bytes()).collect();
    let (status, page) = client.json(&format!("/api/statuses?q={sought}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let found = page["statuses"].as_array().expect("a list").iter();
    let mut sids: Vec<_> = found.filter_map(|row| row["sid"].as_str().map(str::to_owned)).collect();
    sids.sort();
    sids
}

async fn a_hashed_number_is_found_by_the_number(testbed: Testbed) {
    let marked = Marked::new();
    let (call, message) = (&marked.accepted[0], &marked.accepted[2]);
    // What came before it was hashed is found as well.
    let plain = Offhook::start(&testbed.settings);
    plain.client.accepts(call).await;
    testbed.contents_of(1).await;
    drop(plain);
    let offhook = Offhook::start(&with_privacy(&testbed.settings, "hash", "plain", "plain"));
    offhook.client.accepts(message).await;
    let contents = testbed.contents_of(2).await;
    let both = [CALL, "SM1"];
    let number = format!("+1{NUMBER}");
    for sought in [number.clone(), format!("1{NUMBER}"), format!("+1 (555) 017-{}", &NUMBER[6..])] {
        assert_eq!(sids(&offhook.client, &sought).await, both, "{sought}");
    }
    let whatsapp = format!("whatsapp:{number}");
    assert_eq!(sids(&offhook.client, &whatsapp).await, ["SM1"]);
    // By what is shown of it, too.
    let hashed = contents.status("SM1").to.clone().expect("it has one");
    assert!(hashed.starts_with("whatsapp:hash:"), "{hashed}");
    assert_eq!(sids(&offhook.client, &hashed).await, ["SM1"]);
    assert_eq!(sids(&offhook.client, "+15550199999").await, [""; 0]);

    let (_, timeline) = offhook.client.json("/api/timeline/SM1").await;
    let params = &timeline["events"][0]["params"];
    assert_eq!(params["WaId"], Value::from(&hashed["whatsapp:".len()..]), "one number, one hash");
    let page = offhook.client.admin(&format!("/search?q=%2B1{NUMBER}")).await;
    let page = page.text().await.expect("the whole answer");
    assert!(page.contains("SM1") && page.contains(CALL), "{page}");
}

/// A database of the user's own has indexes and triggers, and their errors quote rows.
#[tokio::test]
async fn what_postgres_quotes_of_a_row_is_in_no_log_and_in_no_dead_letter() {
    needs!(Redis, Postgres);
    const PIN: &str = "Thornbridgepin";
    let testbed = Testbed::scale_out(Durability::Unsynced);
    let settings = testbed.settings.clone().set("OFFHOOK_LOG__FILTER", "trace");
    let offhook = Spawned::start(&settings);
    testbed.contents_with(&[]).await;
    testbed.execute("CREATE INDEX poison ON events (((params->>'Body')::numeric))").await;
    testbed
        .execute(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE WARNING 'a row with %', NEW.params;
                IF NEW.params ? 'Raised' THEN
                    RAISE EXCEPTION 'not % again', NEW.params USING ERRCODE = '23514';
                END IF;
                IF NEW.params ? 'Executed' THEN
                    EXECUTE 'SELECT ' || (NEW.params->>'Executed');
                END IF;
                RETURN NEW;
             END $$",
        )
        .await;
    testbed
        .execute("CREATE TRIGGER tell BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell()")
        .await;
    for sid in ["SM1", "SM2&Raised=1"] {
        let body = format!(
            "AccountSid={ACCOUNT}&MessageSid={sid}&MessageStatus=received&Body=my+pin+is+{PIN}"
        );
        offhook.client.accepts(&Callback::form(body)).await;
    }
    until("both are dead letters", async || {
        (offhook.client.metric("offhook_dead_letters_total").await == 2.0).then_some(())
    })
    .await;
    let (_, letters) = offhook.client.json("/api/dead-letters").await;
    let letters = letters["dead_letters"].as_array().expect("a list");
    let mut reasons: Vec<&str> =
        letters.iter().filter_map(|letter| letter["reason"].as_str()).collect();
    reasons.sort_unstable();
    let said = reasons.join("; ");
    assert!(said.contains("(22P02") && said.contains("(23514"), "{said}");
    assert!(!said.contains(PIN), "{said}");
    // This one is tried again until the trigger is mended.
    let body = format!("AccountSid={ACCOUNT}&MessageSid=SM3&MessageStatus=read&Executed={PIN}");
    offhook.client.accepts(&Callback::form(body)).await;
    until("the statement of the trigger has failed", async || {
        offhook.log().contains("(42703").then_some(())
    })
    .await;
    let log = offhook.log();
    assert!(log.contains("22P02"), "{log}");
    let quoted = log.lines().find(|line| line.contains(PIN));
    assert!(quoted.is_none(), "{quoted:?}");
}

/// An open notification and a settled one, as a sender leaves them.
const SENT: &str = "INSERT INTO notifications (id, created_at, token, request_hash, purpose, on_unknown, sender, \
    account, \"to\", to_hash, body, segments, deadline, state, settled_at) VALUES \
    ('open', '2026-11-01T08:00:00.000000Z', 't', 'h', 'alert', 'report', 's', 'AC1', '+15550100', 'h', 'Fire.', 1, \
     '2090-01-01T00:00:00.000000Z', 'open', NULL), \
    ('settled', '2026-11-01T08:00:00.000000Z', 't', 'h', 'alert', 'report', 's', 'AC1', '+15550100', 'h', 'Fire.', 1, \
     '2090-01-01T00:00:00.000000Z', 'confirmed', '2026-11-01T08:00:00.000000Z')";

async fn what_was_sent_is_treated_once_it_is_settled(testbed: Testbed) {
    let plain = Offhook::start(&testbed.settings);
    plain.client.accepts(&Marked::new().accepted[0]).await;
    testbed.contents_of(1).await;
    drop(plain);
    testbed.execute(SENT).await;
    let _offhook = Offhook::start(&with_privacy(&testbed.settings, "hash", "plain", "drop"));
    until("the settled one is treated", async || {
        let rows = "SELECT \"to\" || '|' || body FROM notifications ORDER BY id";
        let rows = testbed.column(rows).await;
        assert_eq!(rows[0], "+15550100|Fire.", "it is to be sent yet");
        (rows[1].starts_with("hash:") && rows[1].ends_with('|')).then_some(())
    })
    .await;
}

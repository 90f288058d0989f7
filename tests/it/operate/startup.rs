//! What does not fit is said before anything is served: the key, where it was set, the fix; and
//! tables are there when they are needed.

use offhook::config::Role;
use reqwest::StatusCode;
use sqlx::{Connection as _, PgConnection};

use crate::harness::{
    ACCOUNT, Callback, Ended, Mode, Offhook, Settings, Spawned, TOKEN, Testbed, both_modes,
    program, run,
};
use crate::services::{Durability, Fsync, Postgres, Redis, needs};

/// In URLs, as a password.
const PASSWORD: &str = "correct-horse";

fn callback() -> Callback {
    Callback::form(format!(
        "CallSid=CA1&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events"
    ))
}

/// It does not start, says all of this, and no secret.
#[track_caller]
fn refuses(settings: &Settings, parts: &[&str]) {
    let (ended, said) = Spawned::fails(settings);
    assert_eq!(ended.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    assert!(!said.contains(TOKEN) && !said.contains(PASSWORD), "it shows a secret: {said}");
}

/// Settings with a file of this text.
fn file(text: &str) -> (Settings, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::with_suffix("my.toml").expect("a temporary file");
    std::fs::write(file.path(), text).expect("the file is ours");
    let path = file.path().display().to_string();
    (Settings::new(Role::All).set("OFFHOOK_CONFIG", path), file)
}

#[test]
fn a_key_that_nobody_knows_is_named_with_its_place() {
    let (settings, _file) = file("[inbound]\nlissten = '127.0.0.1:1'");
    let everywhere = "docs/reference/configuration.md#keys";
    refuses(&settings, &["lissten", "my.toml", "`listen`", everywhere]);
    let (page, heading) = everywhere.split_once('#').expect("it has one");
    let page = std::fs::read_to_string(page).expect("the page is there").to_lowercase();
    assert!(page.contains(&format!("\n## {heading}\n")));
    let settings = Settings::new(Role::All).set("OFFHOOK_INBOUND__LISSTEN", "1");
    refuses(&settings, &["inbound.lissten", "environment variable OFFHOOK_INBOUND__LISSTEN"]);
}

#[test]
fn without_an_account_or_its_token_it_says_what_to_set() {
    let settings = Settings::new(Role::All).unset("TWILIO_AUTH_TOKEN");
    let parts = ["account[0].auth_tokens", "variable TWILIO_ACCOUNT_SID", "set TWILIO_AUTH_TOKEN"];
    refuses(&settings, &parts);
    let parts = ["account (not set)", "set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"];
    refuses(&settings.unset("TWILIO_ACCOUNT_SID"), &parts);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_key_that_names_it() {
    let settings = Settings::new(Role::All);
    let missing = settings.clone().set("OFFHOOK_CONFIG", "/nowhere/my.toml");
    refuses(&missing, &["--config (/nowhere/my.toml)", "cannot be read"]);
    let missing = settings.clone().unset("TWILIO_AUTH_TOKEN");
    let missing = missing.set("TWILIO_AUTH_TOKEN_FILE", "/nowhere/token");
    let parts = ["account[0].auth_tokens_file", "TWILIO_AUTH_TOKEN_FILE", "/nowhere/token"];
    refuses(&missing, &parts);
    let missing = settings.set("OFFHOOK_FALLBACK__VOICE_FILE", "/nowhere/voice.xml");
    refuses(
        &missing,
        &["fallback.voice_file", "OFFHOOK_FALLBACK__VOICE_FILE", "/nowhere/voice.xml"],
    );
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_fix() {
    let settings = Settings::new(Role::All);
    let postgres = settings.clone().set("DATABASE_URL", format!("postgres://u:{PASSWORD}@h/d"));
    for role in [Role::Receiver, Role::Worker] {
        let alone = postgres.clone().with_role(role);
        refuses(&alone, &["stream.url (not set)", "REDIS_URL", "--role needs a stream"]);
    }
    let (stream, _file) = file(&format!("[stream]\nurl = 'redis://:{PASSWORD}@h'"));
    refuses(&stream, &["stream.url", "my.toml", "remove it, or set store.url"]);
    let worker = settings.clone().with_role(Role::Worker);
    refuses(&worker, &["store.url", "--role needs a postgres:// store"]);
    let open = settings.set("OFFHOOK_ADMIN__LISTEN", "0.0.0.0:0");
    refuses(&open, &["admin.listen", "OFFHOOK_ADMIN__LISTEN", "set admin.token"]);
}

#[test]
fn a_value_that_is_none_is_refused_with_what_is_wrong_with_it() {
    let settings = Settings::new(Role::All);
    let url = settings.clone().set("OFFHOOK_PUBLIC_URL", "hooks.example.com");
    refuses(&url, &["public_url", "OFFHOOK_PUBLIC_URL", "https://"]);
    refuses(&settings.clone().unset("OFFHOOK_PUBLIC_URL"), &["public_url (not set)", "such as"]);
    let (twiml, _file) = file("[fallback]\nvoice = '<Response><say>Hello</say></Response>'");
    refuses(&twiml, &["fallback.voice", "my.toml", "<say> is not a verb for voice"]);
    let store = settings.clone().set("DATABASE_URL", format!("mysql://u:{PASSWORD}@h/d"));
    refuses(&store, &["store.url", "DATABASE_URL", "sqlite: or postgres://"]);
    let scaled = |store: &str, stream: &str| {
        settings.clone().set("DATABASE_URL", store).set("REDIS_URL", stream)
    };
    let broken = scaled(&format!("postgres://u:{PASSWORD}@h:port/d"), "redis://h");
    refuses(&broken, &["store.url", "DATABASE_URL", "port"]);
    let broken = scaled("postgres://h/d", &format!("redis://:{PASSWORD}@h:port"));
    refuses(&broken, &["stream.url", "REDIS_URL", "redis://"]);
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let testbed = Testbed::embedded();
    let settings = testbed.settings.clone().set("OFFHOOK_INBOUND__LISTEN", &address);
    refuses(&settings, &["inbound.listen", &address, "in use"]);
}

#[tokio::test]
async fn a_second_process_on_one_sqlite_file_refuses_and_the_first_goes_on() {
    let testbed = Testbed::embedded();
    let first = Spawned::start(&testbed.settings);
    refuses(&testbed.settings, &["offhook.db is in use by another offhook process", "Postgres"]);
    let said = run(&testbed.settings, &["migrate"]).badly();
    assert!(said.contains("offhook.db is in use"), "{said}");
    first.client.accepts(&callback()).await;
    assert_eq!(testbed.contents_of(1).await.keys(), ["CA1-completed"]);
    // Only while it lives, however it dies.
    first.kill();
    Spawned::start(&testbed.settings).client.accepts(&callback()).await;
    assert_eq!(testbed.contents_of(1).await.keys(), ["CA1-completed"]);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let testbed = Testbed::embedded();
    drop(testbed.start());
    testbed
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
             execution_time) VALUES (9999, 'of the future', TRUE, x'00', 0)",
        )
        .await;
    refuses(&testbed.settings, &["offhook.db", "9999"]);
}

#[tokio::test]
async fn processes_that_migrate_at_the_same_time_make_the_tables_once() {
    needs!(Postgres);
    let postgres = Postgres::start(Durability::Unsynced);
    let migrations = std::fs::read_dir("migrations/postgres").expect("they are there").count();
    for round in 0..4 {
        let url = postgres.database(&format!("round_{round}")).await;
        let settings = Settings::new(Role::All).set("DATABASE_URL", url.clone());
        // It is not asked.
        let settings = settings.set("REDIS_URL", "redis://127.0.0.1:1");
        let migrate = || program(&settings, &["migrate"]).spawn().expect("the program is built");
        let migrating: Vec<_> = std::iter::repeat_with(migrate).take(6).collect();
        for process in migrating {
            Ended::of(process).well();
        }
        let made = "SELECT count(*) FROM _sqlx_migrations WHERE success";
        let mut connection = PgConnection::connect(&url).await.expect("it runs");
        let made: i64 =
            sqlx::query_scalar(made).fetch_one(&mut connection).await.expect("a good query");
        assert_eq!(usize::try_from(made).ok(), Some(migrations));
    }
}

both_modes! {
    told_to_make_no_tables_it_is_not_ready_and_loses_nothing_until_somebody_does,
}

async fn told_to_make_no_tables_it_is_not_ready_and_loses_nothing_until_somebody_does(
    testbed: Testbed,
) {
    let settings = testbed.settings.clone().set("OFFHOOK_STORE__MIGRATE", "false");
    let offhook = Offhook::start(&settings);
    let (status, ready) = offhook.client.json("/readyz").await;
    let store = ready["dependencies"].as_array().and_then(|all| all.last()).expect("a store");
    assert_eq!(store["ready"], false, "{ready}");
    match testbed.mode() {
        // It waits in the log, and its file is this process's own.
        Mode::Embedded => {
            assert_eq!(status, StatusCode::OK);
            offhook.client.accepts(&callback()).await;
            drop(offhook);
            run(&settings, &["migrate"]).well();
            let offhook = Offhook::start(&settings);
            testbed.contents_of(1).await;
            drop(offhook);
        }
        // It waits in the log.
        Mode::Direct | Mode::ScaleOut => {
            offhook.client.accepts(&callback()).await;
            run(&settings, &["migrate"]).well();
        }
    }
    assert_eq!(testbed.contents_of(1).await.keys(), ["CA1-completed"]);
}

#[tokio::test]
async fn a_redis_that_does_not_sync_is_named_loudly_with_the_fix() {
    needs!(Redis, Postgres);
    let testbed = Testbed::on(Redis::with(Fsync::Never, None), Durability::Unsynced);
    let offhook = Spawned::start(&testbed.settings);
    let (_, ready) = offhook.client.json("/readyz").await;
    assert_ne!(ready["durability"]["redis"]["level"], "synced", "{ready}");
    let log = offhook.log();
    assert!(
        log.contains("does not sync before it answers") && log.contains("appendfsync always"),
        "{log}"
    );
}

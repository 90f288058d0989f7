//! `offhook doctor` finds nothing where all is well, and what is wrong where it is, with the fix.

use std::net::TcpListener;

use offhook::config::Role;

use crate::harness::{
    Callback, Ended, OTHER_TOKEN, Offhook, Settings, Signature, TOKEN, Testbed, fixture, run,
};
use crate::services::{Durability, Fsync, Postgres, Redis, free_port, needs};

/// Where one offhook will listen, and Twilio is told to send to.
fn public(settings: &Settings) -> Settings {
    let address = format!("127.0.0.1:{}", free_port());
    let settings = settings.clone().set("OFFHOOK_PUBLIC_URL", format!("http://{address}"));
    settings.set("OFFHOOK_INBOUND__LISTEN", address)
}

/// Whatever it says, it says no secret.
fn doctor(settings: &Settings, arguments: &[&str]) -> Ended {
    let arguments = [&["doctor"], arguments].concat();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = directory.path().display().to_string();
    let ended = run(&settings.clone().set("OFFHOOK_SPOOL__DIRECTORY", spool), &arguments);
    for secret in [TOKEN, OTHER_TOKEN, "hunter2"] {
        assert!(!ended.out.contains(secret) && !ended.error.contains(secret), "{ended:?}");
    }
    ended
}

/// It fails, and says all of this.
#[track_caller]
fn finds(settings: &Settings, arguments: &[&str], parts: &[&str]) {
    let ended = doctor(settings, arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in parts {
        assert!(ended.out.contains(part), "`{part}` is not in:\n{}", ended.out);
    }
}

#[test]
fn one_process_on_one_file_that_is_well_is_found_well() {
    let testbed = Testbed::embedded();
    let plain = public(&testbed.settings);
    let hashed = public(&testbed.settings)
        .set("OFFHOOK_PRIVACY__BODIES", "hash")
        .set("OFFHOOK_PRIVACY__KEY", "0123456789abcdef0123456789abcdef");
    for settings in [plain, hashed] {
        let _offhook = Offhook::start(&settings);
        let said = doctor(&settings, &[]).well();
        let parts = [
            "embedded deployment",
            "offhook answers there",
            "and is in the store",
            "\nfailures: 0",
        ];
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in:\n{said}");
        }
    }
}

#[test]
fn receivers_and_workers_that_are_well_are_found_well() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Synced);
    let settings = public(&testbed.settings);
    run(&settings, &["migrate"]).well();
    let _offhook = Offhook::start(&settings);
    let said = doctor(&settings, &[]).well();
    let parts = [
        "ok       Redis          version 7",
        "ok       Redis          it syncs before it answers: appendonly yes",
        "ok       Redis          every command that is needed is allowed",
        "ok       Postgres       its tables are up to date",
        "ok       callback       answered in",
        "\nfailures: 0",
    ];
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
}

/// By the same list of conditions as its page and the alerts.
#[tokio::test]
async fn what_the_running_server_knows_of_itself_is_told() {
    let testbed = Testbed::embedded();
    let offhook = Offhook::start(&public(&testbed.settings));
    let admin = offhook.client.private().to_string();
    let settings = testbed.settings.clone().set("OFFHOOK_ADMIN__LISTEN", &admin);
    let said = doctor(&settings, &["--no-callback"]).out;
    assert!(said.contains("ok       running server Everything is well"), "{said}");
    let forged = Callback::form(fixture("call.form")).signed(Signature::Token("another"));
    assert_eq!(offhook.client.send(&forged).await.status(), 403);
    let said = doctor(&settings, &["--no-callback"]).out;
    assert!(said.contains("warning  running server 1 callback was refused"), "{said}");
    assert!(said.contains(&format!("http://{admin}/help/operations#refusals")), "{said}");
}

#[test]
fn a_path_that_goes_by_where_one_stands_is_shown_whole() {
    let testbed = Testbed::embedded();
    let settings = public(&testbed.settings).set("OFFHOOK_STORE__URL", "sqlite:sub/offhook.db");
    let said = doctor(&settings, &["--no-callback"]).out;
    let here = std::env::current_dir().expect("it is there").join("sub").display().to_string();
    assert!(said.contains(&format!("its directory can be written: {here}")), "{said}");
    assert!(said.contains("its path, sub, is relative to where offhook is started"), "{said}");
}

#[test]
fn what_answers_in_the_place_of_offhook_is_quoted() {
    let testbed = Testbed::embedded();
    let settings = public(&testbed.settings);
    let address = settings.environment()["OFFHOOK_INBOUND__LISTEN"].clone();
    let listener = TcpListener::bind(address).expect("it was free");
    let answering = std::thread::spawn(move || {
        for answer in [
            "401 Unauthorized\r\n\r\n<h1>Please sign in</h1>",
            "301 Moved\r\nLocation: https://new.example/status\r\n\r\n",
        ] {
            let (mut stream, _) = listener.accept().expect("doctor asks");
            let mut head = [0; 4096];
            let read = std::io::Read::read(&mut stream, &mut head).expect("a request");
            assert!(read > 0);
            let answer = format!("HTTP/1.1 {answer}");
            std::io::Write::write_all(&mut stream, answer.as_bytes()).expect("it reads");
        }
    });
    finds(&settings, &["--no-callback"], &["401", "It says: Please sign in"]);
    finds(&settings, &["--no-callback"], &["301", "to https://new.example/status"]);
    answering.join().expect("both were asked");
}

#[tokio::test]
async fn a_role_that_lacks_a_right_is_told_from_no_answer() {
    needs!(Redis, Postgres);
    let (redis, postgres) = (Redis::start(), Postgres::start(Durability::Synced));
    let url = postgres.url();
    let settings = Settings::new(Role::Worker).set("REDIS_URL", redis.url());
    run(&settings.clone().set("DATABASE_URL", &url), &["migrate"]).well();
    postgres.execute("CREATE ROLE narrow LOGIN").await;
    let narrow = settings.set("DATABASE_URL", url.replace("//offhook@", "//narrow@"));
    let parts = ["failure  Postgres       refused: ", "permission denied", "GRANT it"];
    finds(&narrow, &["--role", "worker"], &parts);
    // Told by its code: it may answer in any language.
    for (from, to, fix) in [
        ("//offhook@", "//stranger@", "fix user and password"),
        ("/postgres", "/elsewhere", "fix the name in store.url"),
    ] {
        assert_eq!(url.matches(from).count(), 1, "{url}");
        let other = narrow.clone().set("DATABASE_URL", url.replace(from, to));
        finds(&other, &["--role", "worker"], &["failure  Postgres       refused: ", fix]);
    }
}

#[test]
fn a_server_with_another_token_is_found() {
    let testbed = Testbed::embedded();
    let settings = public(&testbed.settings);
    let _offhook = Offhook::start(&settings);
    let other = settings.set("TWILIO_AUTH_TOKEN", OTHER_TOKEN);
    finds(&other, &[], &["failure  callback       refused with 403", "another token, account or"]);
}

#[test]
fn a_public_url_where_nobody_answers_is_found() {
    let testbed = Testbed::embedded();
    let settings = public(&testbed.settings).set("OFFHOOK_INBOUND__IDLE_TIMEOUT_MS", "30000");
    let parts = ["failure  public URL     no answer", "failure  keep-alive", "idle_timeout_ms"];
    finds(&settings, &[], &parts);
}

#[test]
fn a_path_that_leads_elsewhere_is_found() {
    let testbed = Testbed::embedded();
    let settings = public(&testbed.settings);
    let _offhook = Offhook::start(&settings);
    let elsewhere = settings.set("OFFHOOK_INBOUND__PATH_PREFIX", "/twilio");
    finds(&elsewhere, &[], &["404", "inbound.path_prefix"]);
}

#[test]
fn a_configuration_that_is_wrong_is_found() {
    let settings = Settings::new(Role::All).set("OFFHOOK_STORE__URL", "mysql://");
    finds(&settings, &[], &["failure  configuration  store.url", "fix: "]);
}

#[test]
fn a_redis_that_forgets_is_found() {
    needs!(Redis, Postgres);
    let (redis, postgres) = (Redis::with(Fsync::Never, None), Postgres::start(Durability::Synced));
    let set: String =
        redis.query(redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru"));
    assert_eq!(set, "OK");
    let settings = Settings::new(Role::Worker)
        .set("REDIS_URL", redis.url())
        .set("DATABASE_URL", postgres.url());
    let parts = [
        "failure  Redis          a crash would lose events",
        "appendfsync always",
        "maxmemory-policy volatile-ttl",
        "warning  Redis          it has no maxmemory",
        "warning  Postgres",
        "missing",
    ];
    finds(&settings, &["--role", "worker"], &parts);
    let spooled = settings.set("OFFHOOK_STREAM__DURABILITY", "spool");
    let said = doctor(&spooled, &["--role", "worker"]).out;
    assert!(said.contains("every event is in the spool first"), "{said}");
}

#[test]
fn commands_that_an_acl_forbids_are_found() {
    needs!(Redis, Postgres);
    let (redis, postgres) = (Redis::start(), Postgres::start(Durability::Synced));
    let rules = ["on", ">hunter2", "~*", "+@all", "-xack", "-config", "-info", "-time"];
    let set: String = redis.query(redis::cmd("ACL").arg("SETUSER").arg("narrow").arg(&rules));
    assert_eq!(set, "OK");
    let settings = Settings::new(Role::Worker)
        .set("REDIS_URL", format!("{}?user=narrow&pass=hunter2", redis.url()))
        .set("DATABASE_URL", postgres.url());
    let parts = [
        "it refuses MULTI with SET and XACK: NOPERM",
        "'xack' command",
        "on the keys offhook:events* and {offhook:events}*",
        "it hides its settings",
    ];
    finds(&settings, &["--role", "worker"], &parts);
}

#[tokio::test]
async fn a_role_that_may_not_delete_is_found_if_there_is_a_retention() {
    needs!(Redis, Postgres);
    let (redis, postgres) = (Redis::start(), Postgres::start(Durability::Synced));
    let url = postgres.url();
    let settings = Settings::new(Role::Worker).set("REDIS_URL", redis.url());
    run(&settings.clone().set("DATABASE_URL", &url), &["migrate"]).well();
    postgres.execute("CREATE ROLE narrow LOGIN").await;
    postgres.execute("GRANT SELECT, INSERT, UPDATE ON events, statuses TO narrow").await;
    postgres
        .execute("GRANT SELECT, INSERT ON changes TO narrow; GRANT SELECT ON feed TO narrow")
        .await;
    postgres.execute("GRANT USAGE ON SEQUENCE changes_id_seq TO narrow").await;
    postgres.execute("GRANT SELECT ON _sqlx_migrations TO narrow").await;
    let settings = settings.set("DATABASE_URL", url.replace("//offhook@", "//narrow@"));
    let said = doctor(&settings, &["--role", "worker"]).out;
    assert!(!said.contains("delete"), "{said}");
    let settings = settings.set("OFFHOOK_RETENTION__EVENTS_DAYS", "30");
    finds(&settings, &["--role", "worker"], &["our role may not delete", "DELETE ON ALL TABLES"]);
}

#[tokio::test]
async fn a_postgres_that_offhook_cannot_rely_on_is_found() {
    needs!(Redis, Postgres);
    let (redis, mut postgres) = (Redis::start(), Postgres::start(Durability::Synced));
    postgres.execute("ALTER ROLE offhook SET synchronous_commit = off").await;
    let settings = Settings::new(Role::Worker)
        .set("REDIS_URL", redis.url())
        .set("DATABASE_URL", postgres.url())
        .set("OFFHOOK_STORE__MIGRATE", "false");
    let parts = [
        "failure  Postgres       Postgres answers before it has synced",
        "store.migrate is off",
        "run `offhook migrate`",
    ];
    finds(&settings, &["--role", "worker"], &parts);
    run(&settings, &["migrate"]).well();
    let alter = "ALTER ROLE offhook SET default_transaction_read_only = on";
    postgres.execute(alter).await;
    finds(&settings, &["--role", "worker"], &["it cannot be written", "its tables are up to date"]);
    postgres.kill();
    finds(&settings, &["--role", "worker"], &["failure  Postgres       no answer"]);
}

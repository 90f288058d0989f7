use std::path::Path;

use super::*;
use crate::config::Config;
use crate::config::testing::{
    MINIMAL, check_error, check_warning, load, load_as, minimal, sources,
};

#[test]
fn the_stores_url_decides_the_mode() {
    let scaled = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
    let config = load(&minimal(&scaled), "").expect("complete");
    let Deployment::Scaled(scaled_config) = config.deployment else { panic!("not scaled") };
    assert_eq!(scaled_config.names.stream, "offhook:events");
    assert_eq!(scaled_config.role, Role::All);

    let config = load(&minimal(&scaled[..1]), "").expect("complete");
    assert!(matches!(config.deployment, Deployment::Direct { .. }), "a Postgres alone");
    assert_eq!(
        config.deployment.local_log().expect("it has one").directory,
        Path::new("offhook-spool")
    );
    for role in [Role::Receiver, Role::Worker] {
        let refused = load_as(&minimal(&scaled[..1]), "", role);
        check_error(refused, &["stream.url (not set)", "REDIS_URL", "--role"]);
    }
    let config = load(&MINIMAL, "[store]\nurl = 'sqlite:///a/b.db?mode=rwc'").expect("complete");
    assert_eq!(
        config.deployment.local_log().expect("it has one").directory,
        Path::new("/a/b.db-log")
    );
    // A REDIS_URL alone may belong to another program; a stream in offhook's own file is meant.
    assert!(load(&minimal(&scaled[1..]), "").is_ok());
    check_error(
        load(&MINIMAL, "[stream]\nurl = 'redis://h'"),
        &["stream.url", "my.toml", "postgres://"],
    );
    check_error(load_as(&MINIMAL, "", Role::Worker), &["store.url", "--role", "postgres://"]);
    check_error(load(&MINIMAL, "[store]\nurl = 'mysql://h'"), &["store.url", "my.toml", "sqlite:"]);
}

#[test]
fn a_process_has_one_thread_for_each_of_its_roles() {
    let scaled = minimal(&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")]);
    let threads = |environment: &[(&str, &str)], role| {
        load_as(environment, "", role).expect("complete").deployment.threads()
    };
    assert_eq!(
        [Role::Receiver, Role::Worker, Role::All].map(|role| threads(&scaled, role)),
        [1, 1, 2]
    );
    assert_eq!(threads(&MINIMAL, Role::All), 1);
}

#[test]
fn a_process_that_only_sends_needs_a_postgres_and_a_sender() {
    let sender = "[[sender]]\nname = 'alerts'\nfrom = '+12125550100'\n";
    let stores = [("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")];
    for stores in [&stores[..1], &stores[..]] {
        let config = load_as(&minimal(stores), sender, Role::Sender).expect("complete");
        let deployment = config.deployment;
        assert!(matches!(deployment, Deployment::Sender { .. }));
        assert!(deployment.sends() && !deployment.receives() && !deployment.stores());
        assert_eq!((deployment.threads(), deployment.local_log().is_none()), (1, true));
        let refused = load_as(&minimal(stores), "", Role::Sender);
        check_error(refused, &["sender (not set)", "--role sender", "[[sender]]"]);
        let all = load(&minimal(stores), sender).expect("complete").deployment;
        assert!(all.sends() && all.receives() && all.stores());
    }
    let receiver = load_as(&minimal(&stores), sender, Role::Receiver).expect("complete");
    assert!(!receiver.deployment.sends());
    check_error(load_as(&MINIMAL, sender, Role::Sender), &["store.url", "--role", "postgres://"]);
    assert!(load(&MINIMAL, sender).expect("complete").deployment.sends());
}

#[test]
fn a_redis_url_that_lies_about_is_not_read() {
    let stray = minimal(&[("REDIS_URL_FILE", "/nowhere/redis")]);
    let config = load(&stray, "").expect("a SQLite process needs no Redis");
    assert!(config.warnings.iter().any(|warning| warning.key == "stream.url_file"));
    check_error(
        load(&MINIMAL, "[stream]\nurl_file = '/nowhere'"),
        &["stream.url_file", "SQLite store uses no stream"],
    );
}

/// The name of the file does not decide where a setting was made.
#[test]
fn a_stream_in_a_file_named_after_the_variable_is_meant() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("REDIS_URL.toml");
    std::fs::write(&path, "[stream]\nurl = 'redis://h'").expect("the file can be written");
    let config = Config::load(&sources(&MINIMAL, Some(path)), Role::All);
    let config = config.map_err(|error| error.to_string());
    check_error(config, &["stream.url", "REDIS_URL.toml", "SQLite store uses no stream"]);
}

#[test]
fn a_redis_beside_a_store_that_uses_none_is_warned_of() {
    let key = "stream.url (environment variable REDIS_URL)";
    check_warning(&[("REDIS_URL", "redis://h")], "", key, "DATABASE_URL");
}

#[test]
fn a_password_that_is_not_encoded_is_named() {
    let scaled =
        |store, stream| load(&minimal(&[("DATABASE_URL", store), ("REDIS_URL", stream)]), "");
    let (store, stream) = ("postgres://u@h/d", "redis://h");
    assert!(scaled(store, stream).is_ok());
    check_error(scaled("postgres://u:p#w/d@h/d", stream), &["store.url", "percent-encoded"]);
    check_error(scaled(store, "redis://:p#w/d@h"), &["stream.url", "percent-encoded"]);
    check_error(
        scaled(store, "redis+sentinel://:p#w/d=@h/main"),
        &["stream.url", "percent-encoded"],
    );
    check_error(scaled(store, "rediss://h/#insecure"), &["stream.url", "stream.ca_file"]);
}

#[test]
fn the_log_of_an_embedded_store_lies_beside_its_file() {
    for (file, log) in [
        ("/var/lib/offhook/offhook.db", "/var/lib/offhook/offhook.db-log"),
        ("sqlite:///var/lib/offhook.db?mode=rwc", "/var/lib/offhook.db-log"),
        ("sqlite:offhook.db", "offhook.db-log"),
    ] {
        assert_eq!(log_beside(file), Path::new(log), "{file}");
    }
}

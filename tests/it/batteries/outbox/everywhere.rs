//! What is forgotten is in no table. Every table of the schema is looked at, so that a new one is not left out.

use offhook::backend::outbox::{MailPart, NewNotification};
use offhook::backend::purge::{Mode, Selection};
use offhook::dispatch::suppression::Source;
use offhook::event::{AttemptId, Event, EventKey, Kind, Resource};
use offhook::twilio::privacy::{Privacy, Treatment, Treatments};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::{ACCOUNT, Store, accepted, answer, campaigns, in_writing, new, of, purge, stop};

/// The tables. For one that is not here: does [retention] delete its rows, does a purge, and may it hold what [privacy]
/// treats?
const TABLES: [&str; 24] = [
    "attempt_sids",
    "attempts",
    "campaigns",
    "changes",
    "consents",
    "copies",
    "events",
    "feed",
    "follow_ups",
    "forward_given_up",
    "forward_waiting",
    "forwards",
    "invalid_rows",
    "notifications",
    "outbox",
    "paces",
    "recipients",
    "retention",
    "senders",
    "sending_accounts",
    "statuses",
    "steps",
    "suppressions",
    "wakes",
];

/// Each table, with its rows as text.
async fn tables(store: &Store) -> Vec<(String, Vec<String>)> {
    let mut tables = Vec::new();
    match &store._home {
        (Some(directory), ..) => {
            let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
            let mut file = SqliteConnection::connect(&url).await.expect("it is there");
            let sql = "SELECT name FROM sqlite_master WHERE type = 'table' \
                       AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY 1";
            let names: Vec<String> =
                sqlx::query_scalar(sql).fetch_all(&mut file).await.expect("names");
            for name in names {
                let columns: Vec<String> = sqlx::query_scalar(
                    "SELECT 'coalesce(CAST(\"' || name || '\" AS TEXT), '''')' FROM pragma_table_info(?)",
                )
                .bind(&name)
                .fetch_all(&mut file)
                .await
                .expect("columns");
                let sql = format!("SELECT {} FROM \"{name}\"", columns.join(" || ' ' || "));
                let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut file).await;
                tables.push((name, rows.expect("rows")));
            }
        }
        (_, Some(server), _) => {
            let mut server = server.connection().await;
            let sql = "SELECT table_name::text FROM information_schema.tables \
                       WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' \
                       AND table_name NOT LIKE '\\_sqlx%' ORDER BY table_name COLLATE \"C\"";
            let names: Vec<String> =
                sqlx::query_scalar(sql).fetch_all(&mut server).await.expect("names");
            for name in names {
                let sql = format!("SELECT row::text FROM \"{name}\" AS row");
                let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut server).await;
                tables.push((name, rows.expect("rows")));
            }
        }
        _ => unreachable!("a store is one of the two"),
    }
    tables
}

/// The tables that have a text somewhere, as it is or as bytes are shown.
async fn holding(store: &Store, text: &str) -> Vec<String> {
    let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let is_in = |row: &String| row.contains(text) || row.contains(&bytes);
    let tables = tables(store).await.into_iter();
    tables.filter(|(_, rows)| rows.iter().any(is_in)).map(|(name, _)| name).collect()
}

/// What an email says, and to whom.
const OF_EMAIL: [&str; 3] = ["ana@example.com", "About your order", "<p>It has left</p>"];

/// A message that an email would have followed.
fn with_an_email() -> NewNotification {
    let [to, subject, html] = OF_EMAIL.map(str::to_owned);
    NewNotification { mail: Some(MailPart { to: Some(to), subject, html: Some(html) }), ..new(1) }
}

/// What offhook has of a message that was sent to the first number, in every table that can have something.
async fn a_message_with_all_that_comes_of_it(store: &Store) {
    let outbox = &store.outbox;
    outbox.identity("secret").await.expect("the store is there");
    in_writing(outbox, &with_an_email()).await;
    answer(outbox, AttemptId::new(1), accepted("SM1")).await;
    stop(outbox, &new(1).to, &new(1).to_hash, Source::Hand).await;
    let consent = super::agreed::entry(super::agreed::given(), None);
    outbox.add_consents(&[consent]).await.expect("the store is there");
    outbox.pause("shop", "by hand").await.expect("the store is there");
    campaigns::one_that_refuses(outbox, &with_an_email()).await;
}

pub(super) async fn each_table_is_known_here(store: Store) {
    let names: Vec<String> = tables(&store).await.into_iter().map(|(name, _)| name).collect();
    let is_there = |table: &&str| *table != "copies" || store._home.1.is_some();
    assert_eq!(
        names,
        TABLES.into_iter().filter(is_there).collect::<Vec<_>>(),
        "only Postgres is copied into"
    );
}

pub(super) async fn after_a_purge_no_table_has_the_number_or_the_text(store: Store) {
    a_message_with_all_that_comes_of_it(&store).await;
    let (number, text) = (&new(1).to[1..], &new(1).body);
    let body = format!("MessageSid=SM1&AccountSid={ACCOUNT}&MessageStatus=sent&To=%2B{number}");
    let callback = Event {
        sid: Some("SM1".to_owned()),
        resource: Some(Resource::Message),
        status: Some("sent".to_owned()),
        body: body.into(),
        attempt: Some(AttemptId::new(1)),
        ..Event::new(EventKey::of(&["SM1", "sent"]).expect("printable"), Kind::Message, ACCOUNT)
    };
    store.store(callback).await;
    campaigns::a_draft(&store.outbox, &with_an_email()).await;
    let before = holding(&store, number).await;
    let expected =
        ["consents", "events", "notifications", "recipients", "statuses", "suppressions"];
    assert_eq!(before, expected);
    for text in OF_EMAIL.into_iter().chain([&**text]) {
        assert_eq!(holding(&store, text).await, ["notifications", "recipients"]);
    }
    assert!(holding(&store, "SM1").await.contains(&"wakes".to_owned()));

    purge(&store, &of(1), Mode::Delete).await;
    assert_eq!(holding(&store, number).await, [""; 0]);
    for text in OF_EMAIL.into_iter().chain([&**text]) {
        assert_eq!(holding(&store, text).await, [""; 0]);
    }
    let id = format!("ntf_{}", 1);
    assert_eq!(holding(&store, &id).await, [""; 0], "nor its attempts, which name it");
}

pub(super) async fn once_treated_no_table_has_the_number_or_the_text(store: Store) {
    a_message_with_all_that_comes_of_it(&store).await;
    let (number, text) = (&new(1).to[1..], &new(1).body);
    let treatments =
        Treatments { numbers: Treatment::Hash, bodies: Treatment::Drop, ..Treatments::default() };
    let privacy = Privacy::new(treatments, [], Some(&"k".repeat(32).into())).expect("a key");
    assert_eq!(store.outbox.treat(&privacy).await, Ok(2), "its confirmation is awaited");
    assert_eq!(holding(&store, number).await, ["notifications", "suppressions"]);
    let confirmed = Event {
        sid: Some("SM1".to_owned()),
        resource: Some(Resource::Message),
        status: Some("delivered".to_owned()),
        attempt: Some(AttemptId::new(1)),
        ..Event::new(
            EventKey::of(&["SM1", "delivered"]).expect("printable"),
            Kind::Message,
            ACCOUNT,
        )
    };
    store.store(confirmed).await;
    assert_eq!(store.outbox.settle().await.expect("the store is there").confirmed, 1);
    assert_eq!(store.outbox.treat(&privacy).await, Ok(1));
    assert_eq!(holding(&store, number).await, [""; 0]);
    for text in OF_EMAIL.into_iter().chain([&**text]) {
        assert_eq!(holding(&store, text).await, [""; 0]);
    }
    // Its address is gone, and a purge of the person finds it.
    assert_eq!(purge(&store, &of(1), Mode::Count).await.notifications, 0);
    let selection = Selection { to_hashes: vec![new(1).to_hash], ..of(1) };
    assert_eq!(purge(&store, &selection, Mode::Delete).await.notifications, 1);
}

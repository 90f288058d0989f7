use redis::{Client, ConnectionAddr};
use secrecy::ExposeSecret as _;

use super::fixed::moved_to;
use super::sentinels::Sentinels;
use super::*;

fn sentinels(url: &str) -> Sentinels {
    match Address::new(url, None) {
        Ok(Address::Sentinels(sentinels)) => sentinels,
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn a_url_of_sentinels_names_them_and_the_primary() {
    let found = sentinels("redis+sentinel://me:p%40ss@one:7000,two,[::1],[::2]:7001/main/3");
    let hosts: Vec<_> = found
        .sentinels
        .iter()
        .map(|client| client.get_connection_info().addr().to_string())
        .collect();
    assert_eq!(hosts, ["one:7000", "two:26379", "::1:26379", "::2:7001"]);
    assert_eq!((&*found.name, &*found.db, &*found.scheme), ("main", "/3", "redis"));
    assert_eq!(found.login.expose_secret(), "me:p%40ss@");
    assert!(!format!("{found:?}").contains("p%40ss"));
    let plain = sentinels("rediss+sentinel://one/main");
    assert_eq!((plain.login.expose_secret(), &*plain.db, &*plain.scheme), ("", "", "rediss"));
}

#[test]
fn a_node_of_a_cluster_says_where_our_keys_are() {
    let plain = ConnectionAddr::Tcp("one".to_owned(), 7000);
    let to = |place| moved_to(&plain, place).map(|addr| addr.to_string());
    assert_eq!(to("10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
    assert_eq!(to("::1:7001").as_deref(), Some("::1:7001"));
    assert_eq!(to(":7001").as_deref(), Some("one:7001"), "it does not know its own host");
    assert_eq!(to("nowhere"), None);
    let encrypted = Client::open("rediss://one:7000").expect("a good URL");
    let moved = moved_to(encrypted.get_connection_info().addr(), "two:7001");
    assert!(matches!(moved, Some(ConnectionAddr::TcpTls { port: 7001, .. })), "{moved:?}");
}

#[test]
fn what_is_no_address_is_refused() {
    for url in ["redis+sentinel://one:7000", "redis+sentinel:///main", "http://one", "one"] {
        assert!(Address::new(url, None).is_err(), "{url}");
    }
    let error = Address::new("redis://one", Some(b"")).expect_err("it is not encrypted");
    assert!(error.to_string().contains("rediss://"), "{error}");
}

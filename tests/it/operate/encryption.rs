//! TLS to Redis and to Postgres, with certificates of an authority of one's own.

use crate::harness::{Callback, Offhook, Testbed, fixture, until};
use crate::services::{Certificates, Durability, Postgres, Redis, free_port, needs};

#[tokio::test]
async fn redis_is_asked_over_tls_and_only_if_its_certificate_is_right() {
    needs!(Redis, Postgres, OpenSsl);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let (certificates, port) = (Certificates::make(), free_port().to_string());
    let file = |path: std::path::PathBuf| path.display().to_string();
    let redis = Redis::told(&[
        "--tls-port",
        &port,
        "--bind",
        "127.0.0.1",
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file(certificates.certificate()),
        "--tls-key-file",
        &file(certificates.key()),
        "--tls-ca-cert-file",
        &file(certificates.authority()),
    ]);
    let url = format!("rediss://localhost:{port}");
    testbed.settings = testbed.settings.clone().set("REDIS_URL", url);

    let authority = |of: &Certificates| {
        testbed.settings.clone().set("OFFHOOK_STREAM__CA_FILE", file(of.authority()))
    };
    let offhook = Offhook::start(&authority(&certificates));
    offhook.client.accepts(&Callback::form(fixture("call.form"))).await;
    testbed.contents_of(1).await;
    // Twice if the answer to the first came too late: what is in doubt is appended again.
    assert!(!redis.ids("offhook:events").is_empty(), "it came that way");
    drop(offhook);

    // Somebody else's authority, and those that the system trusts.
    for settings in [authority(&Certificates::make()), testbed.settings.clone()] {
        let offhook = Offhook::start(&settings);
        offhook.client.accepts(&Callback::form(fixture("message.form"))).await;
        let spooled = async || offhook.client.metric("offhook_spool_events").await;
        until("it waits", async || (spooled().await == 1.0).then_some(())).await;
        let (_, readiness) = offhook.client.json("/readyz").await;
        let redis = &readiness["dependencies"][0];
        assert_eq!(
            (redis["name"].as_str(), redis["ready"].as_bool()),
            (Some("redis"), Some(false))
        );
        assert!(readiness.to_string().contains("ertificate"), "and says why: {readiness}");
    }
}

#[tokio::test]
async fn postgres_is_asked_over_tls_and_only_if_its_certificate_is_right() {
    needs!(Redis, Postgres, OpenSsl);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let certificates = Certificates::make();
    let (_postgres, base) = Postgres::encrypted(&certificates);
    let url = |authority: &Certificates| {
        let file = authority.authority().display().to_string();
        format!("{base}?sslmode=verify-full&sslrootcert={file}")
    };
    testbed.settings = testbed.settings.clone().set("DATABASE_URL", url(&certificates));
    let offhook = testbed.start();
    offhook.client.accepts(&Callback::form(fixture("call.form"))).await;
    until("the event is stored", async || {
        let (status, _) =
            offhook.client.json("/api/statuses/CA00000000000000000000000000000010").await;
        status.is_success().then_some(())
    })
    .await;
    drop(offhook);

    let others = Certificates::make();
    let settings = testbed.settings.clone().set("DATABASE_URL", url(&others));
    let offhook = Offhook::start(&settings);
    let (_, readiness) = offhook.client.json("/readyz").await;
    assert!(readiness.to_string().contains("ertificate"), "it says why: {readiness}");
}

//! A Redis or a Postgres that answers, and cannot be used as it must be: that is said in its own words, and
//! ends by itself once its cause is gone.

mod postgres;
mod redis;

use serde_json::Value;

use crate::harness::{Client, until};

/// It is not ready, and says all of this of the dependency.
async fn misses(client: &Client, dependency: &str, parts: &[&str], ready: bool) {
    until(&format!("{dependency} is missed because of {parts:?}"), async || {
        let (code, readiness) = client.json("/readyz").await;
        let found =
            readiness["dependencies"].as_array()?.iter().find(|it| it["name"] == dependency)?;
        let error = found["error"].as_str()?;
        (parts.iter().all(|part| error.contains(part)) && (code == 200) == ready).then_some(())
    })
    .await;
}

/// Everything is ready that there is.
async fn all_ready(client: &Client) {
    until("all is ready", async || {
        let (code, readiness) = client.json("/readyz").await;
        let ready = |it: &Value| it["ready"] == true;
        (code == 200 && readiness["dependencies"].as_array()?.iter().all(ready)).then_some(())
    })
    .await;
}

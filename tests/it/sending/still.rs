//! A process that stands still between its commit to `writing` and its request.

use offhook::lab::twilio::Behaviour;
use serde_json::json;

use super::{Sending, message};
use crate::harness::Mode;
use crate::services::needs;

/// The first commit to `writing` of each attempt takes longer, as if the process did.
const STILL: &str = "CREATE FUNCTION stands_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     PERFORM pg_sleep(3); RETURN NULL; END $$; \
                     CREATE CONSTRAINT TRIGGER stands_still AFTER UPDATE ON attempts DEFERRABLE INITIALLY DEFERRED \
                     FOR EACH ROW WHEN (NEW.state = 'writing' AND NEW.tries = 1) EXECUTE FUNCTION stands_still()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_would_begin_too_late_is_not_made() {
    needs!(Postgres);
    let sending = Sending::start(Mode::Direct, Behaviour::default()).await;
    let before = sending.ask(&message(1)).await;
    sending.reaches(&before, "confirmed").await;
    sending.testbed.execute(STILL).await;
    let id = sending.ask(&message(2)).await;
    let confirmed = sending.reaches(&id, "confirmed").await;
    assert_eq!(confirmed["attempts"][0]["tries"], json!(2));
    assert_eq!(sending.simulator.ledger().posts.len(), 2, "one for each message");
}

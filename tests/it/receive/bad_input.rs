//! What is signed is stored, however odd it is; what is not is refused by the right code; and no
//! bytes that anybody can send make a handler panic.

mod bodies;
mod wire;

use crate::harness::Client;

/// Nothing went wrong on our side.
async fn is_unharmed(client: &Client) {
    for route in ["status", "event-streams", "debugger", "voice-fallback", "sms-fallback", "other"]
    {
        let series = format!("offhook_requests_total{{outcome=\"error\",route=\"{route}\"}}");
        assert_eq!(client.metric(&series).await, 0.0, "{series}");
    }
    assert_eq!(client.metric("offhook_dead_letters_total").await, 0.0);
}

//! The list of campaigns, the page of one, and what may be done with it.

use std::time::Duration;

use super::{guarded, log_in, post, proof};
use crate::admin::tests::Server;
use crate::backend::outbox::{
    CampaignStep, Gated, HandOverAsk, Known, NewCampaign, NewRecipient, Started, StepCost,
};
use crate::clock::Clock;
use crate::dispatch::{Channel, OnUnknown, Purpose};

fn recipient(number: u64) -> NewRecipient {
    NewRecipient {
        number,
        key: None,
        to: format!("+121255501{number:02}"),
        to_hash: format!("of-{number}"),
        email: None,
        email_hash: None,
        time_zone: None,
        text: "Hello".to_owned(),
        subject: None,
        html: None,
        costs: vec![StepCost { units: 1, price: Some(7_900) }],
    }
}

/// A campaign to three, which runs: one of them is refused, and one is held.
async fn one_runs(server: &Server) {
    let outbox = &server.sending.outbox;
    let step = CampaignStep {
        sender: "alerts".to_owned(),
        account: "AC1".to_owned(),
        pace: "alerts".to_owned(),
        channel: Channel::Message,
        call: None,
        wait: Duration::from_secs(300),
        prefix: String::new(),
    };
    let new = NewCampaign {
        id: "cmp_1".to_owned(),
        token: "shop".to_owned(),
        name: "spring".to_owned(),
        purpose: Purpose::Transactional,
        on_unknown: OnUnknown::Report,
        route: None,
        steps: vec![step],
        text: "Hello".to_owned(),
        subject: None,
        html: None,
        deadline: None,
        cost_cap: None,
        currency: Some("USD".to_owned()),
    };
    outbox.create_campaign(&new).await.expect("the store is there");
    let all = [1, 2, 3].map(recipient);
    assert_eq!(outbox.add_recipients("cmp_1", &all).await, Ok(Some(3)));
    assert_eq!(outbox.planned("cmp_1", 1, 0).await, Ok(true));
    let later = Clock::System.now().after(Duration::from_secs(3600));
    assert_eq!(outbox.start_campaign("cmp_1", 3, later).await, Ok(Some(Started::Running)));
    let ask = HandOverAsk { campaign: "cmp_1".to_owned(), window: 9, limit: 9 };
    let gates = |known: &Known, _| match &known.to[10..] {
        "01" => Gated::Refuse { gate: "country" },
        "02" => Gated::Hold { gate: "quiet_hours", until: later },
        _ => Gated::Pass,
    };
    let came = outbox.hand_over(&ask, &gates).await.expect("the store is there");
    assert_eq!(came.handed_over, 1);
}

#[tokio::test]
async fn a_campaign_shows_where_its_recipients_stand() {
    let server = Server::start().await;
    assert!(server.get("/campaigns").await.body.contains("None here."));
    assert_eq!(server.get("/campaigns/cmp_1").await.status, 404);
    one_runs(&server).await;
    for (query, found) in [("", true), ("?state=running", true), ("?state=stopped", false)] {
        let listed = server.get(&format!("/campaigns{query}")).await.body;
        assert_eq!(listed.contains("/campaigns/cmp%5F1"), found, "{query}: {listed}");
    }
    let page = server.get("/campaigns/cmp_1").await.body;
    for part in [
        "It runs: 2 recipients to go.",
        "planned 1, held 1, writing 0",
        "quiet hours",
        "country",
        "Doubles, folded",
        "0.00 USD",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_campaign_is_paused_resumed_and_cancelled_after_a_question() {
    let server = guarded().await;
    let cookie = log_in(&server).await;
    one_runs(&server).await;
    let page = server.get_with("/campaigns/cmp_1", &cookie).await.body;
    assert!(page.contains("Pause…") && page.contains("Cancel…"), "{page}");
    let pause = "id=cmp_1&deed=pause";
    assert_eq!(post(&server, "/campaigns/act", &cookie, pause).await.status, 403);
    for (deed, question, said) in [
        ("pause", "Pause this campaign?", "The campaign is paused"),
        ("resume", "Resume this campaign?", "The campaign is running"),
        ("cancel", "Cancel this campaign?", "The campaign is cancelled"),
        ("cancel", "Cancel this campaign?", "Nothing was changed"),
    ] {
        let form = format!("id=cmp_1&deed={deed}&proof={}", proof(&page));
        let asked = post(&server, "/campaigns/confirm", &cookie, &form).await.body;
        assert!(asked.contains(question), "{asked}");
        let done = post(&server, "/campaigns/act", &cookie, &form).await.body;
        assert!(done.contains(said), "{deed}: {done}");
    }
    let page = server.get_with("/campaigns/cmp_1", &cookie).await.body;
    assert!(page.contains("It was cancelled.") && !page.contains("Pause…"), "{page}");
    server.stop().await;
}

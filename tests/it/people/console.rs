//! The console, as somebody sees it in a browser.

use offhook::admin;
use offhook::config::Role;

use crate::harness::{Callback, Settings, Signature, Testbed, until};
use crate::services::{Browser, Durability, Programs, needs, tool};

/// The browser, or returns from the test.
macro_rules! programs {
    () => {
        Programs { chromium: tool!("chromium"), driver: tool!("chromedriver") }
    };
}

/// What keys are called in WebDriver's standard.
const ENTER: &str = "\u{E007}";
const TAB: &str = "\u{E004}";

fn sid(n: u32) -> String {
    format!("CA{n:032x}")
}

fn call(n: u32, status: &str) -> Callback {
    let sid = sid(n);
    let numbers = "From=%2B15550100001&To=%2B15550100002";
    let account = crate::harness::ACCOUNT;
    Callback::form(format!(
        "CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events&AccountSid={account}&{numbers}"
    ))
}

fn message(n: u32, rest: &str) -> Callback {
    let account = crate::harness::ACCOUNT;
    let numbers = "From=%2B15550100001&To=%2B15550100003";
    Callback::form(format!("MessageSid=SM{n:032x}&{rest}&AccountSid={account}&{numbers}"))
}

/// A phone and a laptop.
const SCREENS: [(u32, u32); 2] = [(390, 844), (1280, 900)];

/// Nothing has to be pushed sideways to be seen.
async fn fits(browser: &Browser, what: &str) {
    let wide = "const root = document.documentElement; \
                const wide = [...document.querySelectorAll('*')].filter((one) => \
                  one.scrollWidth > one.clientWidth + 1 \
                  && ['auto', 'scroll'].includes(getComputedStyle(one).overflowX)); \
                if (root.scrollWidth > root.clientWidth) wide.push(root); \
                return wide.map((one) => `${one.tagName} ${one.className} ${one.scrollWidth}`);";
    let wide = browser.run(wide, &[]).await;
    assert_eq!(wide, serde_json::json!([]), "{what}");
}

/// On each screen, in the light and in the dark.
async fn looks_well(browser: &Browser, page: &str) {
    for (width, height) in SCREENS {
        for (dark, theme) in [(false, "light"), (true, "dark")] {
            browser.screen(width, height, dark).await;
            fits(browser, &format!("{page} at {width}, {theme}")).await;
            browser.screenshot(&format!("{page}-{width}-{theme}")).await;
        }
    }
    browser.screen(1280, 900, false).await;
}

/// One test, since a browser takes seconds to start.
#[tokio::test]
async fn the_console_shows_finds_and_replays_and_no_page_complains() {
    needs!(Redis, Postgres);
    let programs = programs!();
    let mut testbed = Testbed::scale_out(Durability::Synced);
    let offhook = testbed.start();
    let base = format!("http://{}", offhook.client.admin_address());
    let browser = Browser::start(&programs).await;

    // Now: what comes while the page is open appears by itself.
    browser.open(&base).await;
    browser.shows(".verdict", "Everything is well").await;
    browser.run("window.unchanged = true", &[]).await;
    for status in ["initiated", "ringing", "in-progress", "completed"] {
        offhook.client.accepts(&call(1, status)).await;
    }
    offhook.client.accepts(&call(1, "completed")).await;
    offhook.client.accepts(&message(2, "MessageStatus=failed&ErrorCode=30003")).await;
    let long = "MessageStatus=delivered&To=whatsapp%3A%2B15625550100123&From=sip%3Aa-rather-long-name%40example.com";
    let account = crate::harness::ACCOUNT;
    let whatsapp = format!("MessageSid=SM{:032x}&{long}&AccountSid={account}", 5);
    offhook.client.accepts(&Callback::form(whatsapp)).await;
    browser.shows("#live", "30003").await;
    let rows = browser.shows("#live", &sid(1)).await;
    assert!(rows.contains("completed"), "{rows}");
    assert_eq!(browser.run("return window.unchanged", &[]).await, true, "without a reload");
    looks_well(&browser, "now").await;

    // Search, by the keyboard alone: a part of a SID, then the first of what is found.
    browser.click("nav a[href='/search']").await;
    browser.type_into("#q", "CA0000").await;
    browser.press(ENTER).await;
    browser.shows("tbody", &sid(1)).await;
    looks_well(&browser, "search").await;
    browser.click("tbody a.sid").await;
    browser.shows("h1", &sid(1)).await;
    let timeline = browser.shows(".timeline", "completed").await;
    assert!(timeline.contains("ringing"), "{timeline}");
    browser.click(".timeline details summary").await;
    looks_well(&browser, "timeline").await;
    browser.open(&format!("{base}/search?q=%2B15550100003")).await;
    browser.shows("tbody", "failed").await;
    // To whom, and why it failed, are seen on every screen.
    for (width, height) in SCREENS {
        browser.screen(width, height, false).await;
        for (cell, text) in [(".to", "+15550100003"), (".why", "30003")] {
            let seen = "const cell = document.querySelector('tbody ' + arguments[0]); \
                        const place = cell.getBoundingClientRect(); \
                        return place.left >= 0 && place.right <= window.innerWidth \
                          && cell.scrollWidth <= cell.clientWidth && cell.innerText;";
            let seen = browser.run(seen, &[cell]).await;
            assert!(
                seen.as_str().is_some_and(|seen| seen.contains(text)),
                "{width} {cell}: {seen}"
            );
        }
    }
    looks_well(&browser, "found").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    for page in ["/sid/CA9", "/search?kind=x"] {
        browser.open(&format!("{base}{page}")).await;
        looks_well(&browser, "failure").await;
    }
    // That the first is not there.
    assert_eq!(browser.complaints().await.len(), 1);

    // A dead letter is replayed, after a question.
    let poison = "ALTER TABLE events ADD CONSTRAINT poison CHECK (status <> 'busy')";
    testbed.postgres().execute(poison).await;
    offhook.client.accepts(&call(3, "busy")).await;
    until("it is put aside", async || {
        browser.open(&format!("{base}/dead-letters")).await;
        browser.text(".letters").await
    })
    .await;
    testbed.postgres().execute("ALTER TABLE events DROP CONSTRAINT poison").await;

    // What is wrong leads to what to do about it.
    browser.open(&base).await;
    browser.shows(".verdict", "dead letter waits").await;
    looks_well(&browser, "now-dead-letter").await;
    browser.click(".verdict a.what").await;
    browser.shows(".help :target", "Dead letters").await;

    browser.open(&format!("{base}/dead-letters")).await;
    looks_well(&browser, "dead-letters").await;
    browser.click("#all").await;
    browser.click("button[value=replay]").await;
    browser.shows("h1", "Replay 1 dead letter?").await;
    looks_well(&browser, "dead-letters-confirm").await;
    browser.click("button[value=replay]").await;
    browser.shows(".said", "1 dead letter was replayed").await;
    browser.shows(".empty", "No dead letters").await;
    testbed.contents_with(&[format!("{}-busy", sid(3))]).await;

    // A refusal, with its usual cause and without its numbers.
    let forged = call(4, "completed").with_query("From=%2B15550100009");
    let answer = offhook.client.send(&forged.signed(Signature::Token("another token"))).await;
    assert_eq!(answer.status(), 403);
    // It is remembered after its answer.
    let refusals = until("the refusal is there", async || {
        browser.open(&format!("{base}/refusals")).await;
        browser.text("main").await.filter(|text| text.contains("rong signature"))
    })
    .await;
    assert!(refusals.contains("auth token"), "{refusals}");
    browser.click(".refusals summary").await;
    let urls = browser.shows(".refusals", "https://hooks.example.com/status?From=…").await;
    assert!(!urls.contains("15550100009"), "{urls}");
    looks_well(&browser, "refusals").await;

    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn every_page_of_the_help_fits_on_a_phone() {
    let programs = programs!();
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let base = format!("http://{}", offhook.client.admin_address());
    let browser = Browser::start(&programs).await;
    browser.open(&format!("{base}/help")).await;
    looks_well(&browser, "help").await;
    let (phone, height) = SCREENS[0];
    browser.screen(phone, height, false).await;
    for page in admin::help::PAGES {
        browser.open(&format!("{base}/help/{}", page.name)).await;
        fits(&browser, page.name).await;
    }
    for page in ["operations", "consuming"] {
        browser.open(&format!("{base}/help/{page}")).await;
        looks_well(&browser, &format!("help-{page}")).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_forward_is_seen_and_disabled_on_a_phone() {
    let programs = programs!();
    let mut testbed = Testbed::embedded();
    testbed.settings = testbed.settings.clone().with_a_forward();
    let offhook = testbed.start();
    let url = format!("http://{}/forwards", offhook.client.admin_address());
    let browser = Browser::start(&programs).await;
    offhook.client.accepts(&message(1, "MessageStatus=delivered")).await;
    until("its endpoint is seen to fail", async || {
        browser.open(&url).await;
        browser.text(".letters").await.filter(|text| text.contains("Every request has failed"))
    })
    .await;
    looks_well(&browser, "forwards").await;
    browser.click("button[value=disable]").await;
    browser.shows("h1", "Disable app?").await;
    looks_well(&browser, "forwards-confirm").await;
    let (phone, height) = SCREENS[0];
    browser.screen(phone, height, false).await;
    browser.click("button[value=disable]").await;
    browser.shows(".letters", "Disabled by an operator since").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test]
async fn with_a_token_one_logs_in_by_the_keyboard_and_out_again() {
    let programs = programs!();
    let testbed = Testbed::embedded();
    let settings: Settings = testbed.role(Role::All).set("OFFHOOK_ADMIN__TOKEN", "s3cret");
    let offhook = crate::harness::Offhook::start(&settings);
    let browser = Browser::start(&programs).await;
    let base = format!("http://{}", offhook.client.admin_address());
    browser.open(&format!("{base}/help/operations#dead-letters")).await;
    browser.shows("h1", "Log in").await;
    looks_well(&browser, "login").await;
    // The field has the focus.
    for key in ["s", "3", "c", "r", "e", "t", ENTER] {
        browser.press(key).await;
    }
    // A link in a chat leads to its section.
    browser.shows(".help :target", "Dead letters").await;
    browser.open(&format!("{base}/dead-letters")).await;
    browser.shows("h1", "Dead letters").await;
    // The first stop leads past the navigation.
    browser.press(TAB).await;
    let focused = "return document.activeElement.className";
    assert_eq!(browser.run(focused, &[]).await, "skip");
    browser.click(".leave button").await;
    browser.shows("h1", "Log in").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

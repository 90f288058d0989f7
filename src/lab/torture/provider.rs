//! [`provide`]: a testbed whose processes send through a pretend Twilio.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::Run;
use super::asking::ASKER;
use super::meddling::STRANGER;
use super::testbed::{ACCOUNT, PUBLIC_URL, TOKEN, Testbed};
use crate::lab::servers::free_port;
use crate::lab::twilio::{Behaviour, Identity, MailKey, Simulator};

/// How fast things go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tempo {
    /// Messages of one segment a second.
    pub(super) rate: u32,
    /// Longest wait for an answer of the provider.
    timeout_ms: u32,
    /// Until what a process that is gone has left open counts as unknown: 5 s more than that at least.
    writing_lease_ms: u32,
    /// When what is unknown is looked for.
    reconcile_after_s: &'static str,
}

impl Tempo {
    pub(super) const USUAL: Self = Self {
        rate: 100,
        timeout_ms: 2_000,
        writing_lease_ms: 7_000,
        reconcile_after_s: "[2, 4, 8]",
    };
    /// What is unknown is known soon, so that a short run ends soon.
    pub(super) const FAST: Self =
        Self { rate: 200, timeout_ms: 1_000, writing_lease_ms: 6_000, reconcile_after_s: "[1, 2]" };

    /// The time of a message of one segment, in microseconds.
    pub(super) fn per_unit(self) -> i64 {
        1_000_000 / i64::from(self.rate)
    }
}

/// What a testbed sends through, and where its processes listen.
pub(super) struct Provided {
    pub(super) simulator: Simulator,
    pub(super) admin: Vec<SocketAddr>,
    pub(super) receivers: Vec<SocketAddr>,
}

/// Starts the provider and all processes.
pub(super) async fn provide(
    testbed: &mut Testbed,
    run: &Run,
    behaviour: Behaviour,
    tempo: &Tempo,
) -> anyhow::Result<Provided> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a provider")?;
    let identity = Identity { account: ACCOUNT.to_owned(), token: TOKEN.to_owned() };
    let simulator =
        Simulator::start(listener, identity.clone(), MailKey::generate()?, run.seed, behaviour)?;
    simulator.report_mails_to(&format!("{PUBLIC_URL}/email-events"));
    configure(testbed, &simulator, &identity.mail_key(), tempo)?;
    testbed.give_admin_port()?;
    let mut receivers = Vec::new();
    for server in testbed.servers() {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        server.set("OFFHOOK_INBOUND__LISTEN", address.to_string());
        receivers.push(address);
    }
    simulator.reach(PUBLIC_URL, receivers.clone());
    testbed.start()?;
    let admin = testbed.servers().filter_map(|it| it.admin()).collect();
    Ok(Provided { simulator, admin, receivers })
}

/// Every process sends through this provider. What is left open by a process that is gone counts as unknown soon.
fn configure(
    testbed: &mut Testbed,
    simulator: &Simulator,
    mail_key: &str,
    tempo: &Tempo,
) -> anyhow::Result<()> {
    let Tempo { rate, timeout_ms, writing_lease_ms, reconcile_after_s } = tempo;
    let (api_url, verification_key) = (simulator.url(), simulator.mail_public_key());
    let file = testbed.directory().join("sending.toml");
    let text = format!(
        "[[account]]\nsid = \"{ACCOUNT}\"\nauth_tokens = [\"{TOKEN}\"]\nsubaccounts = [\"{STRANGER}\"]\n\
         calls_limit = 1000\ncalls_per_second = 50.0\n\n\
         [[sender]]\nname = \"alerts\"\nfrom = \"+12015550199\"\nrate = {rate}.0\n\n\
         [[sender]]\nname = \"calls\"\nfrom = \"+12015550199\"\nkind = \"voice\"\ntimeout_s = 5\n\
         time_limit_s = 10\n\n\
         [[sender]]\nname = \"mails\"\nkind = \"email\"\nfrom = \"Alerts <alerts@example.com>\"\nrate = {rate}.0\n\n\
         [sendgrid]\napi_url = \"{api_url}\"\napi_key = \"{mail_key}\"\nsilence_s = 5\n\
         verification_keys = [\"{verification_key}\"]\n\n\
         [[route]]\nname = \"urgent\"\n[[route.step]]\nsender = \"alerts\"\nwait_s = 1\n\
         [[route.step]]\nsender = \"calls\"\n\
         [[route.step]]\nsender = \"mails\"\n\n\
         [twilio]\napi_url = \"{api_url}\"\n\n\
         [outbound]\ntokens = [{{ id = \"torture\", token = \"{ASKER}\" }}]\n\
         max_per_day = 1000000\nmax_per_recipient_hour = 1000000\nmax_calls_per_recipient_hour = 1000000\n\
         max_in_flight = 64\ntimeout_ms = {timeout_ms}\nwriting_lease_ms = {writing_lease_ms}\nlook_after_s = [1, 3]\n\
         reconcile_after_s = {reconcile_after_s}\n\n\
         [campaigns]\nmax_recipients = 1000000\n"
    );
    std::fs::write(&file, text).context("the configuration")?;
    testbed.set("OFFHOOK_CONFIG", &file.display().to_string());
    Ok(())
}

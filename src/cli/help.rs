//! What stands below the options of each help page: examples, and what the exit status means. A manual page has the same
//! sections, by their headings.

/// The sections of one command.
macro_rules! help {
    ($($example:literal)+; 0: $zero:literal; 1: $one:literal $(; $note:literal)*) => {
        concat!(
            "Examples:\n", $("  ", $example, "\n",)+
            "\nExit status:\n  0  ", $zero, "\n  1  ", $one, "\n  2  the command line cannot be understood",
            $("\n\nNotes:\n  ", $note,)*
        )
    };
}

/// Of what every command has in common.
pub(super) const ALL: &str = help!(
    "offhook demo"
    "offhook check --config /etc/offhook/offhook.toml"
    "offhook serve --config /etc/offhook/offhook.toml"
    "offhook help dead-letters replay";
    0: "the command did what it was asked for";
    1: "it failed; standard error has the reason and what to do about it"
);

pub(super) const SERVE: &str = help!(
    "offhook serve --config /etc/offhook/offhook.toml --role receiver";
    0: "a signal stopped it, and what it had accepted is finished";
    1: "the configuration is wrong, an address is in use, the store cannot be opened, or it did not stop in time"
);

pub(super) const DEMO: &str = help!(
    "offhook demo          stays up until Ctrl-C, to be looked at"
    "offhook demo --exit   ends as soon as everything was checked";
    0: "every event was stored once, and every status is right";
    1: "something was not as expected, or the server cannot be started"
);

pub(super) const SEND: &str = help!(
    "offhook send https://hooks.example.com/status --kind message --status delivered"
    "offhook send http://127.0.0.1:8080/status --public-url https://hooks.example.com";
    0: "the answer is 2xx";
    1: "the callback was refused, or there is no answer"
);

pub(super) const BENCH: &str = help!(
    "offhook bench http://127.0.0.1:8080/status --public-url https://hooks.example.com"
    "offhook bench http://127.0.0.1:8080/status --rate 1000 --seconds 60 --store postgres://…";
    0: "callbacks were accepted";
    1: "none was accepted, or the store cannot be read";
    "The made-up calls and messages are stored: do not measure a store that is in use."
);

pub(super) const VERIFY: &str = help!(
    "offhook verify --url https://hooks.example.com/status --signature '…' --body body.txt";
    0: "the signature is right; the URL, account and key that match are printed";
    1: "it is wrong; what was tried and the likely mistake are printed";
    "A right signature is never printed."
);

pub(super) const INSPECT: &str = help!(
    "offhook inspect CA00000000000000000000000000000001"
    "offhook inspect --json SM00000000000000000000000000000001 | jq .status.status";
    0: "something is known of the SID";
    1: "nothing is known of it, or the server does not answer"
);

pub(super) const TAIL: &str = help!(
    "offhook tail --kind message --status undelivered"
    "offhook tail --admin https://offhook.internal.example.com | jq .sid";
    0: "the reader of the output has closed it";
    1: "the server does not answer";
    "It shows what the server commits while it runs. To miss nothing, read the change feed: `offhook changes`."
);

pub(super) const CHANGES: &str = help!(
    "offhook changes --after now --follow"
    "offhook changes --json | jq -r 'select(.moved) | [.sid, .current] | @tsv'";
    0: "everything up to the end of the feed is printed";
    1: "the server does not answer, or changes after the cursor were deleted";
    "Each line ends with its cursor, which --after takes. A program that acts on changes keeps the last one."
);

pub(super) const STATS: &str = help!(
    "offhook stats --since 24h";
    0: "the figures are printed";
    1: "the server does not answer"
);

pub(super) const DEAD_LETTERS: &str = help!(
    "offhook dead-letters list"
    "offhook dead-letters show 1764000000000-0"
    "offhook dead-letters replay --all --dry-run"
    "offhook dead-letters purge 1764000000000-0";
    0: "it was done";
    1: "Redis or the disk does not answer, a dead letter is not there, or the question was not answered with yes";
    "It connects to Redis and opens the local log itself, so it works while no server runs."
);

pub(super) const FORWARDS: &str = help!(
    "offhook forwards list"
    "offhook forwards waiting app"
    "offhook forwards given-up app"
    "offhook forwards replay app --since 2h"
    "offhook forwards disable app"
    "offhook forwards enable app";
    0: "it was done";
    1: "the server does not answer, or has no such forward"
);

pub(super) const NOTIFY: &str = help!(
    "offhook notify --to +15550100 --purpose alert --text \"The pump has stopped\" --wait"
    "offhook notify show ntf_0123456789abcdef0123456789abcdef"
    "offhook notify cancel ntf_0123456789abcdef0123456789abcdef"
    "offhook notify list --state unknown"
    "offhook notify unknown";
    0: "it was kept; with --wait, its delivery was confirmed";
    1: "the server does not answer or refuses; with --wait, it was not confirmed";
    "Its token is one of outbound.tokens: --token, OFFHOOK_SENDING_TOKEN, or the first of the configuration."
);

pub(super) const CAMPAIGN: &str = help!(
    "offhook campaign create customers.csv --name autumn --purpose transactional --text \"Hello {{ name }}\""
    "offhook campaign preflight cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign start cmp_0123456789abcdef0123456789abcdef --recipients 1000"
    "offhook campaign watch cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign pause cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign resume cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign cancel cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign results cmp_0123456789abcdef0123456789abcdef > results.csv"
    "offhook campaign invalid cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign show cmp_0123456789abcdef0123456789abcdef"
    "offhook campaign list --state running";
    0: "it was done; for watch, each recipient has an outcome";
    1: "the server does not answer or refuses; for watch, the campaign has stopped itself";
    "Its token is one of outbound.tokens: --token, OFFHOOK_SENDING_TOKEN, or the first of the configuration."
);

pub(super) const RECONCILE: &str = help!(
    "offhook reconcile --dry-run"
    "offhook reconcile --older-than 30m";
    0: "the server asks Twilio, or, with --dry-run, they are listed";
    1: "the server does not answer";
    "offhook stores Twilio's answer as an event of its own, which counts like a callback."
);

pub(super) const SENDERS: &str = help!(
    "offhook senders list"
    "offhook senders pause shop"
    "offhook senders resume shop"
    "offhook senders hold-all"
    "offhook senders resume-all"
    "offhook senders adopt";
    0: "it was done";
    1: "the server does not answer, or has no such sender"
);

pub(super) const SUPPRESSIONS: &str = help!(
    "offhook suppressions list"
    "offhook suppressions add +15550100"
    "offhook suppressions remove +15550100"
    "offhook suppressions import opted-out.csv"
    "offhook suppressions export > suppressions.csv";
    0: "it was done";
    1: "the server does not answer or refuses, or a line of the list is wrong";
    "Its token is one of outbound.tokens: --token, OFFHOOK_SENDING_TOKEN, or the first of the configuration."
);

pub(super) const CONSENTS: &str = help!(
    "offhook consents show +15550100"
    "offhook consents add +15550100 --at 2026-11-24T08:00:00Z --source \"web form\" --text \"Send me offers by SMS\""
    "offhook consents withdraw +15550100"
    "offhook consents import agreed.csv";
    0: "it was done";
    1: "the server does not answer or refuses, or a line of the list is wrong";
    "Its token is one of outbound.tokens: --token, OFFHOOK_SENDING_TOKEN, or the first of the configuration."
);

pub(super) const LOCAL_LOG: &str = help!(
    "offhook local-log list"
    "offhook local-log replay --all"
    "offhook local-log purge --all --yes";
    0: "it was done";
    1: "the disk does not answer, a file is not there, or the question was not answered with yes";
    "It works with and without a running server: the process that has the log does the rest."
);

pub(super) const PURGE: &str = help!(
    "offhook purge --number +15550100 --dry-run"
    "offhook purge --before 400d --yes";
    0: "it is deleted, or --dry-run has printed how much would be";
    1: "the server does not answer, or the question was not answered with yes";
    "Several conditions must all hold: --number … --before … deletes what belongs to that number and is that old."
);

pub(super) const TORTURE: &str = help!(
    "offhook torture --list"
    "offhook torture --only worker-kill --only redis-kill --seconds 60";
    0: "nothing was lost, doubled, wrong or extra";
    1: "something was, or a scenario cannot be run"
);

pub(super) const SIMULATE: &str = help!(
    "offhook simulate --listen 127.0.0.1:8090"
    "offhook simulate --drop-answers 0.01 --callbacks-twice 0.1 --max-in-flight 10";
    0: "a signal stopped it";
    1: "it cannot listen there";
    "`curl -u ACCOUNT:TOKEN URL/simulator/ledger` prints what it has created, answered and reported.";
    "`curl -u ACCOUNT:TOKEN -d '{\"throttle_next\":5}' URL/simulator/behaviour` sets switches while it runs."
);

pub(super) const MIGRATE: &str = help!(
    "DATABASE_URL=postgres://… offhook migrate";
    0: "the tables are up to date";
    1: "the store does not answer, is in use, or was made by a newer version"
);

pub(super) const COPY: &str = help!(
    "DATABASE_URL=postgres://… offhook copy --from /var/lib/offhook/offhook.db"
    "offhook copy --config /etc/offhook/offhook.toml --from old.db --verify";
    0: "all of it is in the target";
    1: "something is missing there, or the copy stopped; run again, it continues";
    "The change feed, its cursors and the positions of forwards stay behind: see docs/migrating.md."
);

pub(super) const CHECK: &str = help!(
    "offhook check --config /etc/offhook/offhook.toml"
    "offhook check --json | jq .warnings";
    0: "the server would start with it; warnings are printed";
    1: "it is wrong; the key, where it was set, and the fix are printed"
);

pub(super) const DOCTOR: &str = help!(
    "offhook doctor --role receiver --balancer-idle 60"
    "offhook doctor --json | jq '.findings[] | select(.verdict != \"ok\")'";
    0: "no check failed; there may be warnings";
    1: "a check failed"
);

pub(super) const CALLBACK_URL: &str = help!(
    "offhook callback-url --config /etc/offhook/offhook.toml"
    "offhook callback-url --own order_id=A-1 --own tenant=7"
    "offhook callback-url --snippet python";
    0: "the URLs are printed";
    1: "the configuration is wrong, or the parameters are too long";
    "Parameters of your own come back with every callback, in the column `own`. They come before the fragment, \
     sorted and encoded, in the URLs that are about one call or message."
);

pub(super) const NUMBERS: &str = help!(
    "offhook numbers"
    "offhook numbers --json | jq '.found[].urls[] | select(.points == \"nowhere\")'"
    "offhook numbers --apply"
    "offhook numbers --replace +15550100";
    0: "the list is complete; with an option, what it names is set";
    1: "an account could not be asked, or something could not be set; what was set before stays set";
    "A URL points here, elsewhere or nowhere; it is misplaced if it leads here and to the wrong route, and overridden if \
     Twilio goes by an application, a trunk, or the numbers of a Messaging Service.";
    "--replace prints the old URLs before it sets others. Twilio keeps the last change where two \
     are made at once: look at the list afterwards."
);

pub(super) const HEALTHCHECK: &str = help!(
    "HEALTHCHECK CMD [\"offhook\", \"healthcheck\"]";
    0: "the server is ready";
    1: "it is not, or does not answer"
);

pub(super) const COMPLETIONS: &str = help!(
    "offhook completions bash > /etc/bash_completion.d/offhook";
    0: "the completions are printed";
    1: "they cannot be written"
);

pub(super) const MAN: &str = help!(
    "offhook man | man -l -"
    "offhook man --directory /usr/local/share/man/man1";
    0: "the pages are written";
    1: "the directory does not exist, or cannot be written"
);

/// What a command reads beside its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Uses {
    /// Nothing.
    Nothing,
    /// The configuration.
    Configuration,
    /// All that a server reads.
    Everything,
}

impl Uses {
    /// Of a command of the first level, or of the program.
    pub(super) fn of(command: &str) -> Self {
        match command {
            "demo" | "torture" | "simulate" | "completions" | "man" => Self::Nothing,
            "serve" | "offhook" => Self::Everything,
            _ => Self::Configuration,
        }
    }
}

/// Variables in the place of an argument, whose help names them: `[env: …]`.
const OF_ARGUMENTS: [(&str, &str); 3] = [
    ("OFFHOOK_ADMIN_URL", "The private listener of the server to ask, as --admin."),
    ("OFFHOOK_ADMIN__TOKEN", "The token of that listener, as --token."),
    (
        "OFFHOOK_SENDING_TOKEN",
        "A token that may ask to send, as --token of the commands that send.",
    ),
];

/// Variables that a command reads. An empty one counts as unset. `names` says whether the help of one of its arguments
/// names the variable.
pub(super) fn environment(
    uses: Uses,
    names: impl Fn(&str) -> bool,
) -> Vec<(&'static str, &'static str)> {
    if uses == Uses::Nothing {
        return Vec::new();
    }
    let mut found = vec![
        (
            "OFFHOOK_CONFIG",
            "The configuration file, as --config. An empty variable counts as unset, here and below.",
        ),
        (
            "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, DATABASE_URL, REDIS_URL",
            "The account, its auth token, the store and the stream, unless the configuration file or an OFFHOOK_ variable \
             sets them. TWILIO_AUTH_TOKEN_FILE, DATABASE_URL_FILE and REDIS_URL_FILE name files that hold them.",
        ),
        (
            "OFFHOOK_<SECTION>__<KEY>",
            "Any key of the configuration, such as OFFHOOK_INBOUND__LISTEN; overrides the file.",
        ),
    ];
    found.extend(OF_ARGUMENTS.into_iter().filter(|(name, _)| names(name)));
    if uses == Uses::Everything {
        found.push(("RUST_LOG", "Which lines the server logs, in place of log.filter."));
        found.push((
            "NOTIFY_SOCKET",
            "Where systemd is told that the server is ready, reloads or stops.",
        ));
    }
    found.push((
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificates of the authorities to trust over TLS, in place of the system's.",
    ));
    found
}

/// Files that a command reads or writes.
pub(super) fn files(uses: Uses) -> &'static [(&'static str, &'static str)] {
    match uses {
        Uses::Nothing => &[],
        Uses::Configuration | Uses::Everything => &[
            (
                "/etc/offhook/environment",
                "Variables of the service under systemd, NAME=VALUE a line. There is no default for --config.",
            ),
            (
                "offhook.db, offhook.db-log/",
                "The embedded store and its local log (store.url), where no other is set.",
            ),
            (
                "offhook-spool/",
                "The local log of the other deployments (spool.directory), where no other is set.",
            ),
        ],
    }
}

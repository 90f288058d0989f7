//! Bytes that no HTTP client sends. Each row goes out on a connection of its own, with one more
//! request behind it that is answered by 404 only if the two of us still agree on where the first
//! one ended.

use reqwest::Method;

use super::is_unharmed;
use crate::harness::{ACCOUNT, Callback, Raw, Signature, Testbed, both_modes, until};

both_modes! {
    whatever_is_sent_is_answered_by_the_right_code_and_the_signed_is_stored,
    a_peer_that_stops_in_the_middle_is_not_waited_for,
}

/// Ends the connection, if it got there.
const LAST: &str = "GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// One connection.
struct Row {
    what: &'static str,
    bytes: Vec<u8>,
    /// Of every answer, that to the last request included.
    codes: &'static [u16],
    counted: Counted,
}

/// What the metrics say of it.
#[derive(Clone, Copy)]
enum Counted {
    Accepted,
    Refused(&'static str),
    /// There was no request that could be refused.
    Unreadable,
}

impl Counted {
    fn series(self) -> String {
        match self {
            Self::Accepted => {
                "offhook_requests_total{outcome=\"accepted\",route=\"status\"}".to_owned()
            }
            Self::Refused(reason) => format!("offhook_refusals_total{{reason=\"{reason}\"}}"),
            Self::Unreadable => "offhook_connections_cut_total{phase=\"unreadable\"}".to_owned(),
        }
    }
}

fn row(what: &'static str, bytes: impl AsRef<[u8]>, codes: &'static [u16]) -> Row {
    Row { what, bytes: bytes.as_ref().to_vec(), codes, counted: Counted::Accepted }
}

fn unreadable(what: &'static str, bytes: impl AsRef<[u8]>, codes: &'static [u16]) -> Row {
    Row { counted: Counted::Unreadable, ..row(what, bytes, codes) }
}

fn refused(
    what: &'static str,
    bytes: impl AsRef<[u8]>,
    codes: &'static [u16],
    reason: &'static str,
) -> Row {
    Row { counted: Counted::Refused(reason), ..row(what, bytes, codes) }
}

/// A signed callback of a SID of its own.
fn call(sid: &str) -> Callback {
    let body = format!(
        "AccountSid={ACCOUNT}&CallSid=CA{sid}&CallStatus=ringing&CallbackSource=call-progress-events"
    );
    Callback::form(body)
}

/// Its head up to the blank line, without a length.
fn head(callback: &Callback) -> String {
    let headers = callback.headers();
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {} HTTP/1.1\r\nhost: h\r\n{headers}", callback.method(), callback.target())
}

fn text(callback: &Callback) -> &str {
    std::str::from_utf8(callback.body()).expect("it is text")
}

/// As it should be, with these lines more in its head.
fn whole(callback: &Callback, lines: &str) -> String {
    let length = callback.body().len();
    format!("{}{lines}content-length: {length}\r\n\r\n{}", head(callback), text(callback))
}

/// The same in chunks, which are written out by the test.
fn chunked(callback: &Callback, lines: &str, chunks: &str) -> String {
    format!("{}{lines}transfer-encoding: chunked\r\n\r\n{chunks}", head(callback))
}

/// Signed, and stored: as many calls as there are 200s.
fn accepted() -> Vec<Row> {
    let flood = |count: usize| "x-a: b\r\n".repeat(count);
    let chunk = |callback: &Callback, extension: &str| {
        let body = text(callback);
        format!("{:X}{extension}\r\n{body}\r\n", body.len())
    };
    let bytewise = |callback: &Callback| -> String {
        text(callback).chars().map(|byte| format!("1\r\n{byte}\r\n")).collect()
    };
    let of = |sid| call(sid);
    vec![
        row("as it should be", whole(&of("a0"), ""), &[200, 404]),
        row(
            "three at once",
            [whole(&of("b0"), ""), whole(&of("b1"), ""), whole(&of("b2"), "")].concat(),
            &[200, 200, 200, 404],
        ),
        row("bare line feeds", whole(&of("c0"), "").replace("\r\n", "\n"), &[200, 404]),
        row("empty lines before it", format!("\r\n\r\n{}", whole(&of("d0"), "")), &[200, 404]),
        row("no host", whole(&of("e0"), "").replace("host: h\r\n", ""), &[200, 404]),
        row("two hosts", whole(&of("f0"), "host: evil.example\r\n"), &[200, 404]),
        row("HTTP/1.0", whole(&of("g0"), "").replace("HTTP/1.1", "HTTP/1.0"), &[200]),
        row(
            "HTTP/1.0 that stays",
            whole(&of("h0"), "connection: keep-alive\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            &[200, 404],
        ),
        row(
            "a whole URL",
            whole(&of("i0"), "").replace("POST /", "POST http://evil.example:1/"),
            &[200, 404],
        ),
        row(
            "the same length twice",
            whole(&of("j0"), &format!("content-length: {}\r\n", of("j0").body().len())),
            &[200, 404],
        ),
        row(
            "a length with zeros in front",
            whole(&of("k0"), "").replace("content-length: ", "content-length: 000"),
            &[200, 404],
        ),
        row("many headers", whole(&of("l0"), &flood(80)), &[200, 404]),
        row(
            "a head of nearly 32 KiB",
            whole(&of("m0"), &format!("x-a: {}\r\n", "b".repeat(31_900))),
            &[200, 404],
        ),
        row(
            "a header that is not text",
            whole(&of("n0"), "").replace("TwilioProxy", "\u{FFFD}"),
            &[200, 404],
        ),
        row(
            "chunks",
            chunked(&of("o0"), "", &format!("{}0\r\n\r\n", chunk(&of("o0"), ""))),
            &[200, 404],
        ),
        row(
            "chunks of one byte",
            chunked(&of("p0"), "", &format!("{}0\r\n\r\n", bytewise(&of("p0")))),
            &[200, 404],
        ),
        row(
            "chunks with extras",
            chunked(
                &of("q0"),
                "",
                &format!("00{}000;x\r\nx-a: b\r\n\r\n", chunk(&of("q0"), " ;x=\"y\"")),
            ),
            &[200, 404],
        ),
        row(
            "a length, then chunks",
            chunked(
                &of("r0"),
                "content-length: 5\r\n",
                &format!("{}0\r\n\r\n", chunk(&of("r0"), "")),
            ),
            &[200],
        ),
        row(
            "chunks, then a length",
            chunked(&of("s0"), "", &format!("{}0\r\n\r\n", chunk(&of("s0"), ""))).replacen(
                "chunked\r\n",
                "chunked\r\ncontent-length: 0\r\n",
                1,
            ),
            &[200],
        ),
        row("a body longer than it says", format!("{}&a=b", whole(&of("u0"), "")), &[200, 400]),
        row(
            "a body that is asked for",
            whole(&of("t0"), "expect: 100-continue\r\n"),
            &[100, 200, 404],
        ),
    ]
}

fn is_refused() -> Vec<Row> {
    let (x, large) = (call("x"), "b".repeat(40_000));
    let as_ = |method: &str| whole(&x, "").replacen("POST", method, 1);
    let at = |path: &str| whole(&x.clone().to(path), "");
    let signed = |text: &'static str| whole(&x.clone().signed(Signature::Text(text)), "");
    let lengths = |lines: &str| format!("{}{lines}\r\n{}", head(&x), text(&x));
    let chunks = |chunks: &str| chunked(&x, "", chunks);
    let coding = |coding: &str| chunks("0\r\n\r\n").replace(": chunked", &format!(": {coding}"));
    let unread: &[u16] = &[400];
    let twice = format!("{}: {}\r\n", "x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let mut rows = vec![
        // Nobody can say what these are.
        unreadable("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", unread),
        unreadable("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
        unreadable("HTTP/3", whole(&x, "").replace("HTTP/1.1", "HTTP/3.0"), unread),
        unreadable("HTTP/0.9", "GET /status\r\n\r\n", unread),
        unreadable("zeros", [0; 100], unread),
        unreadable("a space in the path", at("/sta tus"), unread),
        unreadable("a header without a colon", whole(&x, "x\r\n"), unread),
        unreadable("a space before the colon", whole(&x, "x-a : b\r\n"), unread),
        unreadable("a folded header", whole(&x, "x-a: b\r\n c\r\n"), unread),
        unreadable("a zero in a header", whole(&x, "x-a: \0\r\n"), unread),
        unreadable("a carriage return in a header", whole(&x, "x-a: b\rc: d\r\n"), unread),
        unreadable("101 headers", whole(&x, &"x-a: b\r\n".repeat(101)), &[431]),
        unreadable("a large header", whole(&x, &format!("x-a: {large}\r\n")), &[431]),
        unreadable("a large target", whole(&x.clone().with_query(&large), ""), &[431]),
        // Where two servers could disagree about where a request ends.
        unreadable("two lengths", lengths("content-length: 5\r\ncontent-length: 6\r\n"), unread),
        unreadable("a list of lengths", lengths("content-length: 5, 5\r\n"), unread),
        unreadable("a negative length", lengths("content-length: -1\r\n"), unread),
        unreadable("a length with a sign", lengths("content-length: +5\r\n"), unread),
        unreadable("a length in hexadecimal", lengths("content-length: 0x5\r\n"), unread),
        unreadable("a length of 2^64", lengths("content-length: 18446744073709551616\r\n"), unread),
        unreadable(
            "chunks in HTTP/1.0",
            chunks("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            unread,
        ),
        unreadable("a coding that is not chunked", coding("gzip"), unread),
        unreadable("a coding that is nearly chunked", coding("xchunked"), unread),
        unreadable("chunked, but not last", coding("chunked, identity"), unread),
        refused("chunks without a size", chunks("\r\n\r\n"), unread, "broken_body"),
        refused(
            "chunks of a size that is none",
            chunks("-1\r\nx\r\n0\r\n\r\n"),
            unread,
            "broken_body",
        ),
        refused("chunks with a prefix", chunks("0x1\r\nx\r\n0\r\n\r\n"), unread, "broken_body"),
        refused("a chunk of 2^68", chunks("100000000000000000\r\nx\r\n"), unread, "broken_body"),
        refused(
            "a chunk longer than it says",
            chunks("1\r\nxyz\r\n0\r\n\r\n"),
            unread,
            "broken_body",
        ),
        refused(
            "extensions without end",
            chunks(&format!("1;{large}\r\nx\r\n0\r\n\r\n")),
            unread,
            "broken_body",
        ),
        refused(
            "trailers without end",
            chunks(&format!("0\r\nx-a: {large}\r\n\r\n")),
            unread,
            "broken_body",
        ),
        // Signed, but no request of Twilio's.
        refused("a gzipped coding", coding("gzip, chunked"), &[403, 404], "wrong_signature"),
        refused(
            "a length that is huge",
            lengths("content-length: 9999999999999\r\n"),
            &[413],
            "body_too_large",
        ),
        refused(
            "a type twice",
            whole(&x, "content-type: application/json\r\n"),
            &[415],
            "unsupported_content_type",
        ),
    ];
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "post", "PROPFIND", "X"] {
        rows.push(refused("another method", as_(method), &[405], "method_not_allowed"));
    }
    for path in [
        "//status",
        "/./status",
        "/x/../status",
        "/status%2F",
        "/%2Fstatus",
        "/status%00",
        "/status;a=b",
        "/status%20",
        "/%73tatus",
        "/status/..",
        "/..",
        "*",
    ] {
        let forged = whole(&x.clone().signed(Signature::Token("forged")).to(path), "");
        rows.push(refused("another path, forged", forged, &[404], "unknown_route"));
        rows.push(refused("another path", at(path), &[404, 404], "signed_unknown_route"));
    }
    for signature in [
        "",
        " ",
        "=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAA AAAAAAAAAAAAAA=",
        "----AAAAAAAAAAAAAAAAAAAAAAA=",
        "\u{FFFD}",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ] {
        rows.push(refused("no signature", signed(signature), &[403], "malformed_signature"));
    }
    rows.push(refused("two signatures", whole(&x, &twice), &[403], "malformed_signature"));
    rows
}

/// The status codes of all answers on a connection.
fn codes(answers: &str) -> Vec<u16> {
    let lines = answers.split("HTTP/1.").skip(1);
    lines.map(|answer| answer[2..5].parse().expect("a status code")).collect()
}

async fn whatever_is_sent_is_answered_by_the_right_code_and_the_signed_is_stored(testbed: Testbed) {
    let offhook = testbed.start();
    let mut signed = 0;
    for Row { what, bytes, codes: expected, counted } in accepted().into_iter().chain(is_refused())
    {
        let series = counted.series();
        let count = async || offhook.client.metric(&series).await;
        let before = count().await;
        let mut raw = Raw::connect(offhook.client.inbound()).await;
        raw.write([&bytes[..], LAST.as_bytes()].concat()).await;
        let seen = codes(&raw.read_to_end().await);
        assert_eq!(seen, expected, "{what}");
        let accepted = seen.iter().filter(|code| **code == 200).count();
        signed += accepted;
        let last_is_no_route = matches!(counted, Counted::Refused("unknown_route"));
        let rise = accepted.max(1) + usize::from(last_is_no_route && seen.len() == 2);
        // A connection is counted when it is over.
        until(what, async || (count().await - before == rise as f64).then_some(())).await;
    }
    testbed.contents_of(signed).await;
    is_unharmed(&offhook.client).await;
}

async fn a_peer_that_stops_in_the_middle_is_not_waited_for(mut testbed: Testbed) {
    testbed.settings = testbed.settings.clone().set("OFFHOOK_INBOUND__HEADER_TIMEOUT_MS", "300");
    testbed.settings = testbed.settings.clone().set("OFFHOOK_INBOUND__BODY_TIMEOUT_MS", "300");
    let offhook = testbed.start();
    let full = whole(&call("stalled"), "");
    let body_at = full.find("\r\n\r\n").expect("it has a head") + 4;
    let get = Callback::get("a=b").with_method(Method::HEAD);
    let starts = [
        ("in a head", &full[..20], ""),
        ("at the end of a head", &full[..body_at - 2], ""),
        ("before a body", &full[..body_at], "HTTP/1.1 408"),
        ("in a body", &full[..full.len() - 1], "HTTP/1.1 408"),
    ];
    for (what, start, expected) in starts {
        let mut raw = Raw::connect(offhook.client.inbound()).await;
        raw.write(start).await;
        let answer = raw.read_to_end().await;
        assert!(
            answer.starts_with(expected) && answer.is_empty() == expected.is_empty(),
            "{what}: {answer}"
        );
    }
    assert_eq!(offhook.client.send(&get).await.status(), 405);
    let metric = async |series: &str| offhook.client.metric(series).await;
    assert_eq!(metric("offhook_connections_cut_total{phase=\"head\"}").await, 2.0);
    assert_eq!(metric("offhook_refusals_total{reason=\"slow_body\"}").await, 2.0);
    is_unharmed(&offhook.client).await;
}

//! [`diagnose`]: why a signature is wrong, by trying out the usual mistakes. Slow, so it is asked by
//! people, and never while a request waits.

use bytes::Bytes;

use super::keyring::Keyring;
use super::signature::{Claim, Content, SignedRequest};

/// A mistake with which the signature would be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Diagnosis {
    /// `http` and `https` are confused, as they are behind a proxy that ends TLS.
    OtherScheme,
    /// A slash at the end of the path is missing, or there is one too many.
    TrailingSlash,
    /// The query is missing in what was signed, or something added one on the way.
    WithoutQuery,
    /// The parameters of the query were signed in another order than they arrived in.
    QueryOrder,
    /// The body has a line end that was not sent, as files have that were written by hand.
    BodyLineEnd,
    /// The form's parameters were not signed: it was sent as something else, or as a GET.
    BodyNotSigned,
}

impl Diagnosis {
    /// What it means and what to do, as a sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::OtherScheme => {
                "the signature matches with the other scheme, http or https: public_url must have \
                 the one that Twilio was given, whatever a proxy makes of it"
            }
            Self::TrailingSlash => {
                "the signature matches with a slash more or less at the end of the path: give \
                 Twilio the URL exactly as it is requested"
            }
            Self::WithoutQuery => {
                "the signature matches without the query: something between Twilio and offhook \
                 adds one"
            }
            Self::QueryOrder => {
                "the signature matches with the query's parameters in another order: give Twilio \
                 the URL with its parameters sorted by name"
            }
            Self::BodyLineEnd => {
                "the signature matches without the line end at the end of the body: the file has \
                 one that was not sent"
            }
            Self::BodyNotSigned => {
                "the signature matches the URL alone: the request was not sent as a form"
            }
        }
    }
}

/// The usual mistake that explains the signature; `None` if none does, which leaves a wrong secret or a
/// changed request. Looks for it until `most` bytes were hashed, for each of what was signed after the URL.
#[must_use]
pub fn diagnose(
    url: &str,
    content: Content,
    body: &Bytes,
    claim: &Claim,
    keyring: &Keyring,
    most: usize,
) -> Option<Diagnosis> {
    let (mistakes, others): (Vec<_>, Vec<_>) = mistaken(url).into_iter().unzip();
    let holds = |url: &str, others: &[String], content: Content, body: &Bytes| {
        let request = SignedRequest::new(url, content, body, claim.clone());
        let signed = request.search_among(others, most, keyring).ok()?.end().ok()?;
        Some(signed.url().to_owned())
    };
    if let Some(signed) = holds(url, &others, content, body) {
        let place = others.iter().position(|other| *other == signed);
        return place.map(|place| mistakes[place]);
    }
    let stripped = body.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if stripped.is_some_and(|rest| holds(url, &[], content, &body.slice_ref(rest)).is_some()) {
        return Some(Diagnosis::BodyLineEnd);
    }
    let signed_alone =
        content == Content::Form && holds(url, &[], Content::Query, &Bytes::new()).is_some();
    signed_alone.then_some(Diagnosis::BodyNotSigned)
}

/// The URLs that may have been signed instead, with what the mistake is then.
fn mistaken(url: &str) -> Vec<(Diagnosis, String)> {
    let mut all = vec![
        (Diagnosis::OtherScheme, other_scheme(url)),
        (Diagnosis::TrailingSlash, other_slash(url)),
    ];
    all.extend(url.split_once('?').map(|(path, _)| (Diagnosis::WithoutQuery, path.to_owned())));
    all.extend(other_orders(url).into_iter().map(|url| (Diagnosis::QueryOrder, url)));
    all
}

fn other_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("http://{rest}"),
        Some((_, rest)) => format!("https://{rest}"),
        None => url.to_owned(),
    }
}

fn other_slash(url: &str) -> String {
    let (path, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    match path.strip_suffix('/') {
        Some(path) => format!("{path}{query}"),
        None => format!("{path}/{query}"),
    }
}

/// The URL with its query's parameters in every other order, if they are few; else sorted, and
/// sorted backwards.
fn other_orders(url: &str) -> Vec<String> {
    /// Up to this many parameters, every order is tried: 119 others.
    const FEW: usize = 5;
    let Some((path, query)) = url.split_once('?') else { return Vec::new() };
    let pairs: Vec<&str> = query.split('&').collect();
    let mut orders: Vec<Vec<&str>> = vec![Vec::new()];
    if pairs.len() <= FEW {
        for pair in pairs {
            let mut longer = Vec::new();
            for order in &orders {
                let placed = |at| [&order[..at], &[pair], &order[at..]].concat();
                longer.extend((0..=order.len()).map(placed));
            }
            orders = longer;
        }
    } else {
        let mut sorted = pairs;
        sorted.sort_unstable();
        let backwards = sorted.iter().rev().copied().collect();
        orders = vec![sorted, backwards];
    }
    let urls = orders.into_iter().map(|order| format!("{path}?{}", order.join("&")));
    urls.filter(|other| other != url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::keyring::{Account, Secret};
    use crate::twilio::signature::{MOST_HASHED, sign};

    const FORM: &[u8] = b"CallSid=CA1&AccountSid=AC1";

    #[test]
    fn the_usual_mistakes_are_recognised() {
        let token = "12345".into();
        let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
        let ring = Keyring::new(vec![account]).expect("has a token");
        let secret = Secret::auth_token(&token);
        let check = |signed: (&str, &[u8]), seen: (&str, &[u8]), expected| {
            let content = if signed.1.is_empty() { Content::Query } else { Content::Form };
            let signature = sign(&secret, signed.0, content, signed.1);
            let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
            let body = Bytes::copy_from_slice(seen.1);
            assert_eq!(
                diagnose(seen.0, Content::Form, &body, &claim, &ring, MOST_HASHED),
                expected,
                "{seen:?}"
            );
        };
        use Diagnosis::*;
        let url = "https://h.example/status";
        check((url, FORM), ("http://h.example/status", FORM), Some(OtherScheme));
        check((url, FORM), ("https://h.example/status/", FORM), Some(TrailingSlash));
        check((url, FORM), ("https://h.example/status?x=1", FORM), Some(WithoutQuery));
        let few = ("https://h.example/status?c=3&a=1&b=2", FORM);
        check(few, ("https://h.example/status?b=2&c=3&a=1", FORM), Some(QueryOrder));
        let many = ("https://h.example/status?a=1&b=2&c=3&d=4&e=5&f=6", FORM);
        check(many, ("https://h.example/status?c=3&a=1&b=2&f=6&e=5&d=4", FORM), Some(QueryOrder));
        check((url, FORM), (url, b"CallSid=CA1&AccountSid=AC1\r\n"), Some(BodyLineEnd));
        check((url, b""), (url, FORM), Some(BodyNotSigned));
        check((url, FORM), ("https://other.example/status", FORM), None);
    }
}

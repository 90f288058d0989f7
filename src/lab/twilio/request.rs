//! [`Request`]: a request to the simulator, as far as it matters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A request without its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Raw, without its `?`.
    pub(super) query: String,
    /// User and password.
    pub(super) basic: Option<(String, String)>,
    /// A key.
    pub(super) bearer: Option<String>,
}

impl Request {
    /// Reads the first line and the headers. `None` if it is not HTTP.
    pub(super) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let authorization = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("authorization").then(|| value.trim())
        });
        let bearer = authorization.and_then(|it| it.strip_prefix("Bearer ")).map(str::to_owned);
        let basic = authorization.and_then(basic);
        Some(Self { method, path: path.to_owned(), query: query.to_owned(), basic, bearer })
    }
}

fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_credentials() {
        let head = "GET /a/b.json?To=%2B1 HTTP/1.1\r\nHost: h\r\nauthorization: Basic QUMxOnRv\r\n";
        let expected = Request {
            method: "GET".to_owned(),
            path: "/a/b.json".to_owned(),
            query: "To=%2B1".to_owned(),
            basic: Some(("AC1".to_owned(), "to".to_owned())),
            bearer: None,
        };
        assert_eq!(Request::parse(head), Some(expected));
        let without = Request::parse("POST / HTTP/1.1\r\nAuthorization: Bearer x\r\n");
        let (basic, bearer) = without.map(|request| (request.basic, request.bearer)).unzip();
        assert_eq!((basic, bearer), (Some(None), Some(Some("x".to_owned()))));
        assert_eq!(Request::parse("SSH"), None);
    }
}

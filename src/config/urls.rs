//! What is wrong with the URL of a server that no library names: each takes the password for a part of the host
//! or of the path, and says that something else is wrong, or nothing.

/// Why this URL does not mean what it should; its text is not in it.
pub(super) fn problem(url: &str) -> Option<&'static str> {
    const ENCODE: &str = "a character in its user or password must be percent-encoded: `#` is %23, `/` is %2F, `?` is \
                          %3F, `@` is %40, `:` is %3A, `%` is %25";
    const INSECURE: &str = "it ends with #insecure, which is not supported: a certificate is always checked. Name \
                            your own authority in stream.ca_file";
    let (scheme, rest) = url.split_once("://")?;
    if let Some((_, fragment)) = rest.split_once('#') {
        return Some(if fragment == "insecure" { INSECURE } else { ENCODE });
    }
    if scheme.ends_with("unix") {
        return None;
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = place.split_once('/').map_or("", |(_, path)| path);
    // In a value of the query it may stand, as in password=p@ss.
    let (before, at) = query.split_once('@').map_or(("", false), |(before, _)| (before, true));
    (path.contains('@') || at && !before.contains('=')).then_some(ENCODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_encoded_is_named() {
        let check = |url: &str, expected: Option<&str>| {
            let found = problem(url);
            assert_eq!(found.is_some(), expected.is_some(), "{url}: {found:?}");
            assert!(expected.is_none_or(|part| found.is_some_and(|text| text.contains(part))));
            assert!(!found.is_some_and(|text| text.contains("p#w")), "{url}");
        };
        for url in [
            "redis://:p#w/d@h:6379",
            "redis://:p/w@h",
            "redis://:p?w@h/0",
            "redis+sentinel://:p#w/d=@h:26379/main",
            "redis+sentinel://u:p/w@h/main",
            "postgres://u:p#w/d@h/db",
            "postgres://u:1234/w@h/db",
            "postgres://u:p@s/w@h/db",
        ] {
            check(url, Some("percent-encoded"));
        }
        check("rediss://h:6379/#insecure", Some("stream.ca_file"));
        for url in [
            "redis://:p%23w@h:6379/0",
            "redis://h",
            "redis+unix:///run/a@b/redis.sock?pass=x",
            "redis+sentinel://u:p%40ss@a:1,b:2/main/3",
            "postgres://u:p@h/db?sslmode=require",
            "postgres:///db?host=/run&user=u&password=p@ss",
            "nonsense",
        ] {
            check(url, None);
        }
    }
}

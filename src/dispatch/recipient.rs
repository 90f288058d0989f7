//! [`Recipient`]: who is reached, by a number or by an email address; [`Mailbox`], what an email comes from.

use std::fmt;

use super::country::Number;

/// An email address in lower case: an ASCII local part and a domain with a dot in it.
///
/// Mail servers may tell upper case from lower case in a local part (RFC 5321, 2.4), and none that matters does. offhook
/// must recognise an address however it is written, since it may be one that must not be reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Longest address (RFC 5321, 4.5.3.1.3, less the angle brackets).
    const LONGEST: usize = 254;
    /// Longest local part (RFC 5321, 4.5.3.1.1).
    const LONGEST_LOCAL: usize = 64;
    /// Longest label of a domain (RFC 1035).
    const LONGEST_LABEL: usize = 63;

    /// Reads an address and nothing else: no name, no angle brackets, no quoted local part, no blank within.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let fits = text.len() <= Self::LONGEST && Self::is_local(local) && Self::is_domain(domain);
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Words of letters, digits and the signs that RFC 5322 allows without quotes, with a dot between two.
    fn is_local(local: &str) -> bool {
        let is_sign = |byte: u8| b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|it| it.is_ascii_alphanumeric() || is_sign(it))
        };
        local.len() <= Self::LONGEST_LOCAL && local.split('.').all(is_word)
    }

    fn is_domain(domain: &str) -> bool {
        let is_label = |label: &str| {
            (1..=Self::LONGEST_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        domain.contains('.') && domain.split('.').all(is_label)
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Never the address: it ends up in logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

/// An address that emails come from, perhaps with a name before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailbox {
    /// The address.
    pub address: EmailAddress,
    /// The name that a mail program shows.
    pub name: Option<String>,
}

impl Mailbox {
    /// Longest name.
    const LONGEST_NAME: usize = 100;

    /// Reads `alerts@example.com` or `Example <alerts@example.com>`, the name perhaps in quotes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('<') else {
            return Some(Self { address: EmailAddress::parse(text)?, name: None });
        };
        let address = EmailAddress::parse(rest.strip_suffix('>')?)?;
        let name = name.trim();
        let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let fits = bare.chars().count() <= Self::LONGEST_NAME
            && !bare.chars().any(|it| it.is_control() || matches!(it, '"' | '<' | '>' | '\\'));
        fits.then(|| Self { address, name: (!bare.is_empty()).then(|| bare.to_owned()) })
    }
}

/// Who is reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Recipient {
    /// The one at this number.
    Number(Number),
    /// The one at this email address.
    Email(EmailAddress),
}

impl Recipient {
    /// Reads a number in E.164, which may have a channel before it, or an email address.
    #[must_use]
    pub fn parse(to: &str) -> Option<Self> {
        if to.contains('@') {
            return EmailAddress::parse(to).map(Self::Email);
        }
        Number::parse(to.rsplit(':').next().unwrap_or(to)).map(Self::Number)
    }

    /// The number, if it is one.
    #[must_use]
    pub const fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Email(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_lower_case_and_nothing_but_an_address_is_one() {
        let check = |text: &str, expected: Option<&str>| {
            let found = EmailAddress::parse(text);
            assert_eq!(found.as_ref().map(EmailAddress::as_str), expected, "{text}");
        };
        check("ana@example.com", Some("ana@example.com"));
        check(" Ana.B+x@Mail.Example.COM ", Some("ana.b+x@mail.example.com"));
        check("o'neil_7=a@xn--bcher-kva.example", Some("o'neil_7=a@xn--bcher-kva.example"));
        for wrong in [
            "",
            "@example.com",
            "ana",
            "ana@",
            "ana@localhost",
            "ana@example..com",
            "ana@-a.example",
            "ana@a-.example",
            ".ana@example.com",
            "ana.@example.com",
            "a..b@example.com",
            "ana b@example.com",
            "ana@exa mple.com",
            "ana@b@example.com",
            "\"ana\"@example.com",
            "ana@example.com\r\nBcc: b@example.com",
            "Ana <ana@example.com>",
            "änä@example.com",
            "ana@[127.0.0.1]",
            "ana@example.com,b@example.com",
        ] {
            check(wrong, None);
        }
        let long = |local: usize, label: usize| {
            format!("{}@{}.example", "a".repeat(local), "b".repeat(label))
        };
        assert!(EmailAddress::parse(&long(64, 63)).is_some());
        assert!(EmailAddress::parse(&long(65, 63)).is_none());
        assert!(EmailAddress::parse(&long(64, 64)).is_none());
        let labels = vec!["b".repeat(63); 4].join(".");
        assert!(EmailAddress::parse(&format!("a@{labels}")).is_none());
    }

    #[test]
    fn a_mailbox_may_have_a_name() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let found = Mailbox::parse(text);
            let found = found.as_ref().map(|it| (it.address.as_str(), it.name.as_deref()));
            assert_eq!(found, expected, "{text}");
        };
        check("a@example.com", Some(("a@example.com", None)));
        check("Example <A@example.com>", Some(("a@example.com", Some("Example"))));
        check("\"Example, Inc.\" <a@example.com>", Some(("a@example.com", Some("Example, Inc."))));
        check("<a@example.com>", Some(("a@example.com", None)));
        for wrong in ["", "Example", "Example <a@example.com", "E\nx <a@example.com>", "<<a@b.c>"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_recipient_is_a_number_or_an_address_and_is_not_shown() {
        let number = Number::parse("+15550100").map(Recipient::Number);
        assert_eq!(Recipient::parse("+15550100"), number);
        assert_eq!(Recipient::parse("whatsapp:+15550100"), number);
        let email = Recipient::parse("Ana@example.com").expect("it is one");
        assert_eq!(format!("{email:?}"), "Email(EmailAddress(…))");
        for wrong in ["15550100", "ana", "mailto:ana", ""] {
            assert_eq!(Recipient::parse(wrong), None, "{wrong}");
        }
    }
}

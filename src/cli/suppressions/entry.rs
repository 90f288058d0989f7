//! [`Entry`]: a line of a list of suppressions.

use serde_json::{Value, json};

use crate::cli::list_file::{BadLine, Line};
use crate::dispatch::recipient::Recipient;
use crate::event::consent::is_hash;

/// Why a line has neither a number nor an address.
const NO_ADDRESS: &str = "`to` is not a number in E.164, such as +15550100, nor an email address";

/// Whom it is about.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Entry {
    To(String),
    Hash(String),
}

impl Entry {
    /// The columns that it is read from.
    pub(super) const COLUMNS: [&str; 2] = ["to", "hash"];

    pub(super) fn of(line: &Line<2>) -> Result<Self, BadLine> {
        let [to, hash] = &line.fields;
        match (to.is_empty(), hash.is_empty()) {
            (false, _) => match Recipient::parse(to) {
                Some(Recipient::Number(number)) => Ok(Self::To(number.as_str().to_owned())),
                Some(Recipient::Email(address)) => Ok(Self::To(address.as_str().to_owned())),
                None => Err(line.bad(NO_ADDRESS)),
            },
            (true, false) if is_hash(hash) => Ok(Self::Hash(hash.clone())),
            (true, false) => Err(line.bad("`hash` is not a hash of an export")),
            (true, true) => Err(line.bad("it has no number")),
        }
    }

    /// As the API takes it.
    pub(super) fn into_json(self) -> Value {
        match self {
            Self::To(to) => json!({ "to": to }),
            Self::Hash(hash) => json!({ "hash": hash }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_number_an_address_or_a_hash() {
        let hash = "0a".repeat(32);
        let check = |[to, hash]: [&str; 2], expected: Result<Entry, &'static str>| {
            let line = Line { number: 7, fields: [to.to_owned(), hash.to_owned()] };
            assert_eq!(Entry::of(&line), expected.map_err(|reason| line.bad(reason)));
        };
        let to = |number: &str| Ok(Entry::To(number.to_owned()));
        check(["+12125550100", ""], to("+12125550100"));
        check(["whatsapp:+12125550101", ""], to("+12125550101"));
        check(["Ana@Example.com", ""], to("ana@example.com"));
        check(["", &hash], Ok(Entry::Hash(hash.clone())));
        check(["5550100", ""], Err(NO_ADDRESS));
        check(["", "0a"], Err("`hash` is not a hash of an export"));
        check(["", ""], Err("it has no number"));
    }
}

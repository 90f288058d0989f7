//! [`OwnParameter`]: an id of the application's own, by which something is sought.

use crate::twilio::privacy::Privacy;

/// A parameter of the callback URL, sought by its whole value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnParameter {
    /// The name of the parameter.
    pub name: String,
    /// The value of the parameter, in each form in which it may be stored: as it is, and as `[privacy]` changes it.
    pub values: Vec<String>,
}

impl OwnParameter {
    /// Reads `order_id=A-1`; `None` if it has no name.
    #[must_use]
    pub fn parse(text: &str, privacy: &Privacy) -> Option<Self> {
        let (name, value) = text.trim().split_once('=')?;
        let values = privacy.forms(value);
        (!name.is_empty()).then(|| Self { name: name.to_owned(), values })
    }

    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.values).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::privacy::{Treatment, Treatments};

    #[test]
    fn it_is_a_name_and_a_value() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(name, value)| OwnParameter {
                name: name.to_owned(),
                values: vec![value.to_owned()],
            });
            assert_eq!(OwnParameter::parse(text, &Privacy::default()), expected, "{text}");
        };
        check(" order_id=A-1 ", Some(("order_id", "A-1")));
        check("q=a=b", Some(("q", "a=b")));
        check("empty=", Some(("empty", "")));
        for none in ["", "A-1", "=A-1"] {
            check(none, None);
        }
    }

    #[test]
    fn a_number_is_also_sought_as_it_is_hashed() {
        let key = "0123456789abcdef0123456789abcdef".into();
        let treatments = Treatments { numbers: Treatment::Hash, ..Treatments::default() };
        let privacy = Privacy::new(treatments, [], Some(&key)).expect("the key is long enough");
        let own = OwnParameter::parse("phone=+15550100", &privacy).expect("a parameter");
        assert_eq!(own.values.len(), 2, "{own:?}");
        assert!(own.values[1].starts_with("hash:"), "{own:?}");
    }
}

//! `--kind`: of events, in the spelling for people; that of the tables is understood, too.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::event::Kind;

/// Takes the name of a kind.
pub(super) fn parser() -> impl TypedValueParser<Value = Kind> {
    among(Kind::ALL)
}

/// The same of the kinds that Twilio signs.
pub(super) fn signed_by_twilio() -> impl TypedValueParser<Value = Kind> {
    among(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Email))
}

fn among(kinds: impl IntoIterator<Item = Kind>) -> impl TypedValueParser<Value = Kind> {
    let names = kinds.into_iter().map(|kind| match (kind.typed(), kind.as_str()) {
        (typed, stored) if typed == stored => PossibleValue::new(typed),
        (typed, stored) => PossibleValue::new(typed).alias(stored),
    });
    PossibleValuesParser::new(names)
        .map(|name| Kind::parse_typed(&name).expect("the parser takes these names only"))
}

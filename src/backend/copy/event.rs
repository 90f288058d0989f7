//! [`CarriedEvent`]: a row of `events`, column by column.

use serde_json::Value;

use super::Place;
use crate::clock::Timestamp;

/// What a column of a row holds, in a form that both databases read and write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Text, or a number, a time or JSON as text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Cell {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bytes(_) => None,
        }
    }

    /// The bytes, if they are such.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Text(_) => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A row of `events`: its columns in the order of [`COLUMNS`](Self::COLUMNS).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CarriedEvent(Vec<Cell>);

impl CarriedEvent {
    /// The columns of an event, of which the last is when it was stored.
    pub(crate) const COLUMNS: [&'static str; 24] = [
        "key",
        "kind",
        "account",
        "sid",
        "resource",
        "status",
        "rank",
        "sequence",
        "occurred_at",
        "received_at",
        "format",
        "query",
        "params",
        "body",
        "about_account",
        "call_sid",
        "fingerprint",
        "method",
        "route",
        "idempotency_token",
        "own",
        "attempt",
        "callee",
        "stored_at",
    ];
    const JSON: [&'static str; 2] = ["params", "own"];

    /// Of a row that was read; `None` if it lacks a column.
    pub(crate) fn of(cells: Vec<Cell>) -> Option<Self> {
        (cells.len() == Self::COLUMNS.len()).then_some(Self(cells))
    }

    /// The columns.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.0
    }

    /// The name of the event: its key, and the account that it is unique in.
    #[must_use]
    pub fn id(&self) -> (&str, &str) {
        (self.text("key"), self.text("account"))
    }

    /// Its place among the rows of the source.
    #[must_use]
    pub fn place(&self) -> Place {
        ["stored_at", "key", "account"].map(|column| self.text(column).to_owned()).into()
    }

    /// The time that retention counts its age from.
    #[must_use]
    pub fn age_from(&self) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(self.text("stored_at"))
    }

    /// Whether the target's row of the same name is a copy of this one; or, where the target stored the event itself,
    /// whether both say the same.
    #[must_use]
    pub fn is_in(&self, target: &Self) -> bool {
        if self.cell("stored_at") == target.cell("stored_at") {
            return Self::COLUMNS.iter().all(|column| self.agrees(target, column));
        }
        let [ours, theirs] = [self, target].map(|event| event.cell("fingerprint"));
        self.id() == target.id() && (ours == theirs || [ours, theirs].contains(&&Cell::Null))
    }

    /// About how many bytes it holds, to bound a page.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(Cell::size).sum()
    }

    fn agrees(&self, other: &Self, column: &str) -> bool {
        let (ours, theirs) = (self.cell(column), other.cell(column));
        // Postgres writes the same JSON with other spaces and in another order.
        let meaning = |cell: &Cell| serde_json::from_str::<Value>(cell.text()?).ok();
        let same_json = || meaning(ours).is_some_and(|ours| Some(ours) == meaning(theirs));
        ours == theirs || (Self::JSON.contains(&column) && same_json())
    }

    fn text(&self, column: &str) -> &str {
        self.cell(column).text().unwrap_or_default()
    }

    fn cell(&self, column: &str) -> &Cell {
        let at = Self::COLUMNS.iter().position(|known| *known == column);
        at.map_or(&Cell::Null, |at| &self.0[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::sql::columns;

    fn event(changed: &[(&str, &str)]) -> CarriedEvent {
        let cells = CarriedEvent::COLUMNS.map(|column| {
            let changed = changed.iter().find(|(name, _)| *name == column);
            match (changed, column) {
                (Some((_, value)), _) => Cell::Text((*value).to_owned()),
                (None, "params") => Cell::Text(r#"{"a":"1","b":[2]}"#.to_owned()),
                (None, _) => Cell::Text(column.to_owned()),
            }
        });
        CarriedEvent::of(cells.into()).expect("each column")
    }

    #[test]
    fn it_has_the_columns_of_an_event_and_when_it_was_stored() {
        assert_eq!(CarriedEvent::COLUMNS[..23], columns::EVENTS);
        assert_eq!(CarriedEvent::of(vec![Cell::Null]), None);
    }

    #[test]
    fn a_copy_has_each_column_and_the_targets_own_says_the_same() {
        let check = |changed: &[(&str, &str)], expected: bool| {
            assert_eq!(event(&[]).is_in(&event(changed)), expected, "{changed:?}");
        };
        check(&[], true);
        check(&[("params", r#"{"b": [2], "a": "1"}"#)], true);
        check(&[("params", r#"{"b": [3], "a": "1"}"#)], false);
        check(&[("query", "tenant=8")], false);
        check(&[("own", "{")], false);
        // The target stored it itself, from another delivery.
        check(&[("stored_at", "later"), ("received_at", "later")], true);
        check(&[("stored_at", "later"), ("fingerprint", "7")], false);
    }

    #[test]
    fn its_place_is_when_it_was_stored_and_its_name() {
        assert_eq!(event(&[]).place(), ["stored_at", "key", "account"]);
    }
}

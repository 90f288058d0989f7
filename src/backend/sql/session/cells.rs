//! [`Cells`]: a row of either database.

use crate::clock::Timestamp;

/// A row: its columns by name.
#[derive(Debug)]
pub(in crate::backend) struct Cells(pub(super) Vec<(String, Cell)>);

/// A value.
#[derive(Debug)]
pub(super) enum Cell {
    Null,
    Number(i64),
    Text(String),
}

impl Cells {
    fn cell(&self, column: &str) -> Result<&Cell, sqlx::Error> {
        let found = self.0.iter().find(|(name, _)| name == column);
        let missing = || sqlx::Error::ColumnNotFound(column.to_owned());
        found.map(|(_, cell)| cell).ok_or_else(missing)
    }

    /// A text.
    pub(in crate::backend) fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        self.optional(column)?.ok_or_else(|| malformed(column))
    }

    /// A text, or NULL.
    pub(in crate::backend) fn optional(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text.clone())),
            Cell::Number(_) => Err(malformed(column)),
        }
    }

    /// A number; NULL is 0, as of a sum over no rows.
    pub(in crate::backend) fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(0),
            Cell::Number(number) => Ok(*number),
            Cell::Text(_) => Err(malformed(column)),
        }
    }

    /// A number, or NULL.
    pub(in crate::backend) fn number_or_null(
        &self,
        column: &str,
    ) -> Result<Option<i64>, sqlx::Error> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            _ => self.number(column).map(Some),
        }
    }

    /// A number that is not negative.
    pub(in crate::backend) fn count(&self, column: &str) -> Result<u64, sqlx::Error> {
        Ok(u64::try_from(self.number(column)?).unwrap_or_default())
    }

    /// A time that was selected as text, or NULL.
    pub(in crate::backend) fn time(&self, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
        let text = self.optional(column)?;
        text.map(|text| Timestamp::parse_rfc3339(&text).ok_or_else(|| malformed(column)))
            .transpose()
    }

    /// A value that its text is parsed to.
    pub(in crate::backend) fn parsed<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, sqlx::Error> {
        parse(&self.text(column)?).ok_or_else(|| malformed(column))
    }
}

/// A row has what no version before wrote.
pub(in crate::backend) fn malformed(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column `{column}` holds what this version does not know").into())
}

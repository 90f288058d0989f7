//! What an error of a database may say: nothing that is in a row.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use crate::pipeline::Cause;

/// An error in one line that quotes no value of a row.
///
/// For most errors of a database this is its primary message, in which Postgres and SQLite name columns
/// and constraints. That of class 22 (the data itself is wrong: `invalid input syntax for type numeric:
/// "…"`) and errors that a function or trigger raises quote values, so for these there are only the
/// code and the names of the objects concerned.
pub(crate) fn cause(error: &sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match quotes_values(error.as_ref(), &code) {
                true => names(error.as_ref(), &code),
                false => format!("{} ({code})", error.message()),
            }
        }
        // The layer above would only add that it was communicating.
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection could be had in time".to_owned(),
        other => other.to_string(),
    }
}

fn quotes_values(error: &dyn DatabaseError, code: &str) -> bool {
    /// The data, what PL/pgSQL raises, errors of functions in other languages, and of other servers.
    const CLASSES: [&str; 5] = ["22", "P0", "38", "39", "HV"];
    /// Conflicts, want of resources, the state of an object or transaction, an operator: their texts are fixed.
    const FIXED: [&str; 5] = ["25", "40", "53", "55", "57"];
    /// What runs `RAISE`, which may take any code.
    const RAISE: &str = "exec_stmt_raise";
    /// `SQLITE_CONSTRAINT_TRIGGER`: `RAISE` of SQLite.
    const TRIGGER: &str = "1811";
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => {
            let class = code.get(..2).unwrap_or_default();
            // Within a function, a value may have become a part of a statement.
            let within = error.r#where().is_some() && !FIXED.contains(&class);
            CLASSES.contains(&class) || error.routine() == Some(RAISE) || within
        }
        None => code == TRIGGER,
    }
}

/// What an error concerns, by the names that Postgres gives beside its message.
fn names(error: &dyn DatabaseError, code: &str) -> Cause {
    let what = match code.get(..2) {
        Some("22") => "a value does not fit",
        _ => "a function or trigger of the database raised an error",
    };
    let column = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::column);
    let named = [("table", error.table()), ("column", column), ("constraint", error.constraint())];
    let named = named.iter().filter_map(|(kind, name)| Some(format!(", {kind} {}", (*name)?)));
    format!("{what} ({code}{})", named.collect::<String>())
}

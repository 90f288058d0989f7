use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The rows of a list that arrives in pieces of this many bytes.
fn read_in(form: Form, list: &[u8], size: usize) -> Result<Vec<Read>, ListError> {
    let (mut reader, mut rows) = (ListReader::new(form), Vec::new());
    for piece in list.chunks(size) {
        reader.feed(piece, &mut rows)?;
    }
    reader.end(&mut rows)?;
    Ok(rows)
}

fn read(form: Form, list: &[u8]) -> Vec<Read> {
    read_in(form, list, list.len().max(1)).expect("its first line is right")
}

/// The line of each row, with its `to` or what is wrong.
fn check(form: Form, list: impl AsRef<[u8]>, expected: &[(u64, &str)]) {
    let rows = read(form, list.as_ref());
    let found: Vec<(u64, String)> = rows
        .into_iter()
        .map(|row| match row {
            Ok(row) => (row.line, row.to),
            Err(bad) => (bad.line, bad.reason.to_string()),
        })
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn each_row_has_its_line_and_the_others_are_read_all_the_same() {
    check(
        Form::Csv,
        "\u{feff}To,name\r\n+15550100,\"a,\"\"b\"\"\r\nc\"\r\n\r\n +15550101 ,d\n,e\n,\n+15550102\n+15550103,f,g\n+15550104,h",
        &[
            (2, "+15550100"),
            (5, "+15550101"),
            (6, "`to`: it is empty"),
            (8, "it has 1 columns, and the first line names 2"),
            (9, "it has 3 columns, and the first line names 2"),
            (10, "+15550104"),
        ],
    );
}

#[test]
fn columns_are_values_and_an_empty_cell_is_none() {
    let list =
        "to,Email,time_zone,KEY,name,,city\n+15550100,a@example.com,Europe/Berlin,c-1,Ana,x,\n";
    let rows = read(Form::Csv, list.as_bytes());
    let [Ok(row)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(row.email.as_deref(), Some("a@example.com"));
    assert_eq!(
        (row.time_zone.as_deref(), row.key.as_deref()),
        (Some("Europe/Berlin"), Some("c-1"))
    );
    let expected = json!({
        "to": "+15550100", "email": "a@example.com", "time_zone": "Europe/Berlin", "key": "c-1", "name": "Ana",
    });
    assert_eq!(Value::Object(row.values.clone()), expected);
}

#[test]
fn what_is_wrong_with_a_row_is_said_without_its_values() {
    let long = "x".repeat(LONGEST_ROW + 1);
    let mut list =
        format!("to,time_zone,key\n1,Mars/Olympus,\n2,,{}\n3,,{long}\n4,,", "k".repeat(256))
            .into_bytes();
    list.extend_from_slice(b"\xff\n5,,\n6,,\"never closed\n7,,\n");
    check(
        Form::Csv,
        list,
        &[
            (2, "`time_zone`: it is not a place such as America/New_York"),
            (3, "`key`: it has more than 255 bytes, or a NUL character"),
            (4, "it has more than 65536 bytes, or a quotation mark in it is not closed"),
            (5, "it is not UTF-8: save the list as CSV UTF-8"),
            (6, "5"),
            (7, "6"),
        ],
    );
}

#[test]
fn a_list_that_cannot_be_read_at_all_says_why() {
    let check = |list: &[u8], expected| {
        assert_eq!(read_in(Form::Csv, list, 7), Err(expected));
    };
    check(b"", ListError::Empty);
    check(b"\r\n\n", ListError::Empty);
    check(b"number,name\n+15550100,a\n", ListError::NoRecipients);
    check(b"to;name\n+15550100;a\n", ListError::Separator(';'));
    check(b"\xff\xfet\0o\0\n\0", ListError::NotUtf8);
    check(b"to,name,name\n", ListError::Twice(3));
    check(format!("to{}\n", ",".repeat(MOST_COLUMNS)).as_bytes(), ListError::TooLong);
    check(&[b'x'; LONGEST_ROW + 9], ListError::TooLong);
}

#[test]
fn a_line_of_json_is_a_row() {
    let long = format!("{{\"to\":\"{}\"}}", "x".repeat(LONGEST_ROW));
    check(
        Form::Ndjson,
        format!(
            "\u{feff}{{\"to\":\"+15550100\",\"order\":{{\"id\":7}}}}\n\n[1]\n{{\"to\":15550101}}\n{long}\n{{\"to\":\"+15550102\"}}"
        ),
        &[
            (1, "+15550100"),
            (3, "it is not a JSON object"),
            (4, "`to`: it is not a text: put it in quotation marks"),
            (5, "it has more than 65536 bytes, or a quotation mark in it is not closed"),
            (6, "+15550102"),
        ],
    );
    check(Form::Ndjson, "", &[]);
}

proptest! {
    #[test]
    fn a_list_is_read_the_same_in_pieces_of_any_size(
        list in "[\"a,é\r\n]{0,60}", size in 1..9_usize
    ) {
        let list = format!("to,a\n{list}");
        let whole = read_in(Form::Csv, list.as_bytes(), list.len());
        prop_assert_eq!(read_in(Form::Csv, list.as_bytes(), size), whole);
    }
}

#[test]
fn what_is_null_or_empty_in_an_object_is_missing_as_in_an_empty_cell() {
    let line = br#"{"to":"+15550100","name":null,"city":" ","order":{"id":7,"at":null},"tags":[]}"#;
    let rows = read(Form::Ndjson, line);
    let [Ok(row)] = &rows[..] else { panic!("{rows:?}") };
    let expected = json!({ "to": "+15550100", "order": { "id": 7, "at": null }, "tags": [] });
    assert_eq!(serde_json::Value::from(row.values.clone()), expected);
}

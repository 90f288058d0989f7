//! Texts with values in them: rendered once, when a notification is asked for, and strictly. A value that is missing is an
//! error, and never a gap in what a recipient reads.
//!
//! Of the template language (Jinja) there are values, a few filters, `if` and `for`. What would let a short template make
//! a long text in memory, before it can be counted, is refused: text that is put together within an expression, `set`,
//! and loops that call themselves.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, escape_formatter, filters,
};
use serde_json::{Map, Value as Json};
use thiserror::Error;

/// Most steps of one rendering: a loop over a thousand values has a few thousand.
const FUEL: u64 = 50_000;
/// What may stand first in `{% … %}`.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// What is made of a value on its way into the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Escape {
    /// Nothing: a text, a subject, and what is said. TwiML is escaped where it is made.
    Nothing,
    /// It cannot be markup.
    Html,
}

/// Why a template cannot be rendered.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
pub enum Unrenderable {
    /// A value is missing.
    #[error("the value `{0}` is missing")]
    Missing(String),
    /// It is not a template.
    #[error("line {line}: it is not a template: {why}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the matter is, of a closed set.
        why: &'static str,
    },
    /// Something of the language that is left out here.
    #[error("{0} has no place in a template here: there are values, filters, `if` and `for`")]
    LeftOut(&'static str),
    /// It takes too long.
    #[error("it takes too many steps: shorten its loops")]
    TooSlow,
    /// It becomes too long.
    #[error("it becomes longer than {0} bytes: shorten it, or its values")]
    TooLong(usize),
}

/// Whether a text is a template, with any values.
///
/// # Errors
/// It is not one.
pub fn examine(template: &str) -> Result<(), Unrenderable> {
    check(template)?;
    let environment = environment(Escape::Nothing);
    let read = environment.template_from_str(template).map(|_| ());
    read.map_err(|error| unrenderable(&error, template))
}

/// What templates are rendered with.
#[derive(Clone, Debug)]
pub struct Values(Value);

impl Values {
    /// The values of a JSON object, by their names. What is null is missing.
    #[must_use]
    pub fn of(values: &Map<String, Json>) -> Self {
        Self(Value::from(Serde(&named(values))))
    }

    /// Renders a template to at most `most` bytes.
    ///
    /// # Errors
    /// It is not a template, names a value that is missing, or becomes too long.
    pub fn render(
        &self,
        template: &str,
        escape: Escape,
        most: usize,
    ) -> Result<String, Unrenderable> {
        check(template)?;
        let environment = environment(escape);
        let mut written = Bounded { bytes: Vec::new(), most, is_over: false };
        let rendered = environment
            .template_from_str(template)
            .and_then(|it| it.render_captured_to(self.0.clone(), &mut written).map(|_| ()));
        match rendered {
            _ if written.is_over => Err(Unrenderable::TooLong(most)),
            Ok(()) => {
                Ok(String::from_utf8(written.bytes).expect("a template writes whole characters"))
            }
            Err(error) => Err(unrenderable(&error, template)),
        }
    }
}

/// Those of them that are not null, within each other as well.
fn named(values: &Map<String, Json>) -> Map<String, Json> {
    let value = |value: &Json| match value {
        Json::Object(values) => Json::Object(named(values)),
        other => other.clone(),
    };
    let all = values.iter().filter(|(_, it)| !it.is_null());
    all.map(|(name, it)| (name.clone(), value(it))).collect()
}

/// The language, without what could grow in memory.
fn environment(escape: Escape) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(move |_| match escape {
        Escape::Nothing => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
    });
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("its delimiters are the usual ones"));
    // In a list, where it has no name. Else it is written as "none".
    environment.set_formatter(|out, state, value| match value.is_none() {
        true => Err(minijinja::Error::from(ErrorKind::UndefinedError)),
        false => escape_formatter(out, state, value),
    });
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("int", filters::int);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("round", filters::round);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", minijinja::tests::is_defined);
    environment.add_test("none", |value: &Value| value.is_none() || value.is_undefined());
    environment
}

/// Refuses what this module leaves out, before anything is rendered.
fn check(template: &str) -> Result<(), Unrenderable> {
    let mut rest = template;
    while let Some(start) =
        rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min()
    {
        let (opening, after) = rest[start..].split_at(2);
        rest = match opening {
            "{#" => after.split_once("#}").map_or("", |(_, after)| after),
            _ => {
                let closing = if opening == "{{" { "}}" } else { "%}" };
                let (bare, after) = inside(after, closing);
                if opening == "{%" {
                    check_tag(&bare)?;
                }
                check_expression(&bare)?;
                after
            }
        };
    }
    Ok(())
}

/// What stands before `closing`, without the quoted texts in it, and what follows.
fn inside<'t>(text: &'t str, closing: &str) -> (String, &'t str) {
    let (mut bare, mut quote) = (String::new(), None);
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match quote {
            Some(_) if char == '\\' => drop(chars.next()),
            Some(open) => quote = (char != open).then_some(open),
            None if text[at..].starts_with(closing) => return (bare, &text[at + closing.len()..]),
            None if matches!(char, '"' | '\'') => quote = Some(char),
            None => bare.push(char),
        }
    }
    (bare, "")
}

fn check_tag(bare: &str) -> Result<(), Unrenderable> {
    let mut words = bare.split(|char: char| !char.is_alphanumeric() && char != '_');
    let name = words.find(|word| !word.is_empty()).unwrap_or_default();
    if !TAGS.contains(&name) {
        return Err(Unrenderable::LeftOut("a tag other than `if` and `for`"));
    }
    match words.any(|word| word == "recursive") {
        true => Err(Unrenderable::LeftOut("a loop that calls itself")),
        false => Ok(()),
    }
}

fn check_expression(bare: &str) -> Result<(), Unrenderable> {
    // The signs beside the brackets say what becomes of blanks.
    let bare = bare.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
    match bare.contains(['~', '+', '*']) {
        true => Err(Unrenderable::LeftOut("one of `~`, `+` and `*`")),
        false => Ok(()),
    }
}

fn unrenderable(error: &minijinja::Error, template: &str) -> Unrenderable {
    let why = match error.kind() {
        ErrorKind::UndefinedError => {
            // The expression as it is written, which is no value.
            const LONGEST: usize = 80;
            let named = error.range().and_then(|range| {
                let (before, start) = (template.get(..range.start)?, range.start);
                // Of a filter, with what it is a filter of.
                let is_filter = before.trim_end().ends_with('|');
                let opening = before.rfind("{{").max(before.rfind("{%")).map(|at| at + 2);
                template.get(opening.filter(|_| is_filter).unwrap_or(start)..range.end)
            });
            let named = named.unwrap_or("of an expression").trim();
            return Unrenderable::Missing(named.chars().take(LONGEST).collect());
        }
        ErrorKind::OutOfFuel => return Unrenderable::TooSlow,
        ErrorKind::SyntaxError => "its syntax is wrong",
        ErrorKind::UnknownFilter => "there is no such filter",
        ErrorKind::UnknownTest => "there is no such test",
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "there is no such function",
        _ => "a value does not fit what is done with it",
    };
    Unrenderable::Syntax { line: error.line().unwrap_or(1), why }
}

/// Takes up to `most` bytes, and notes whether there were more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_over = true;
            return Err(io::Error::other("it is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        let values = json!({
            "name": "Ana <b>", "order": { "id": 7, "lines": ["a", "b"], "at": null, "gaps": [null] }, "empty": "", "nothing": null,
        });
        Values::of(values.as_object().expect("it is one"))
    }

    fn render(template: &str) -> Result<String, Unrenderable> {
        values().render(template, Escape::Nothing, 100)
    }

    #[test]
    fn values_are_put_into_a_text() {
        let check = |template: &str, expected: &str| {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        };
        check("plain, with +1 ~ * and { braces }", "plain, with +1 ~ * and { braces }");
        check("Hello {{ name }}, order {{ order.id }}", "Hello Ana <b>, order 7");
        check("{% for it in order.lines %}{{ it|upper }};{% endfor %}", "A;B;");
        check("{% if nothing is none %}-{% else %}{{ nothing }}{% endif %}", "-");
        check("{{ other|default('none') }}{% if other is defined %}x{% endif %}", "none");
        check("{{ nothing|default('customer') }}", "customer");
        check("{#- ~ a remark \" #}{{ '}} ~ +' }}{{- '' -}}", "}} ~ +");
        check("line\n", "line\n");
    }

    #[test]
    fn in_html_a_value_is_no_markup() {
        let html = values().render("<p>{{ name }}</p>", Escape::Html, 100);
        assert_eq!(html.as_deref(), Ok("<p>Ana &lt;b&gt;</p>"));
    }

    #[test]
    fn a_missing_value_is_named() {
        let check = |template: &str, name: &str| {
            assert_eq!(render(template), Err(Unrenderable::Missing(name.to_owned())), "{template}");
        };
        check("Hello {{ nmae }}", "nmae");
        check("{{ order.number }}", "order.number");
        check("{{ customer.name|upper }}", "customer.name");
        check("{% for it in lines %}{{ it }}{% endfor %}", "lines");
        check("{% if late %}x{% endif %}", "late");
        check("Hello {{ nothing }}", "nothing");
        check("Hello {{ nothing|upper }}", "nothing|upper");
        check("{{ nmae | upper }}", "nmae | upper");
        check("{{ order.at }}", "order.at");
        check("{% for it in order.gaps %}{{ it }}{% endfor %}", "it");
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_line() {
        let check = |template: &str, line: usize, why: &str| {
            let Err(Unrenderable::Syntax { line: at, why: found }) = render(template) else {
                panic!("{template}: {:?}", render(template));
            };
            assert_eq!((at, found), (line, why), "{template}");
        };
        check("{{ name", 1, "its syntax is wrong");
        check("a\n{% if name %}", 2, "its syntax is wrong");
        check("{{ name|replace('a', 'b') }}", 1, "there is no such filter");
        check("a\nb {{ range(9) }}", 2, "there is no such function");
    }

    #[test]
    fn what_could_grow_in_memory_is_left_out() {
        for template in [
            "{{ name ~ name }}",
            "{{ '}}' ~ name }}",
            "{{ name + name }}",
            "{{ name * 9 }}",
            "{{ 'a\\'' ~ name }}",
            "{% set x = name %}",
            "{% with x = name %}{% endwith %}",
            "{% raw %}{{{% endraw %}",
            "{% autoescape false %}{% endautoescape %}",
            "{%- filter upper -%}a{% endfilter %}",
            "{% macro x() %}{% endmacro %}",
            "{% include 'x' %}",
            "{% for it in order.lines recursive %}{% endfor %}",
        ] {
            let found = render(template);
            assert!(matches!(found, Err(Unrenderable::LeftOut(_))), "{template}: {found:?}");
        }
    }

    #[test]
    fn a_rendering_is_bounded() {
        assert_eq!(render(&"a".repeat(101)), Err(Unrenderable::TooLong(100)));
        let loops = "{% for a in order.lines %}".repeat(30) + &"{% endfor %}".repeat(30);
        assert_eq!(render(&loops), Err(Unrenderable::TooSlow));
    }

    proptest! {
        #[test]
        fn no_template_panics_or_becomes_too_long(template in "[{}%# a-z\"'|.~+\\\\-]{0,60}") {
            if let Ok(text) = render(&template) {
                prop_assert!(text.len() <= 100);
            }
        }
    }
}

//! [`Snippet`]: a function for the operator's own program, which makes a callback URL with parameters of its own as
//! `offhook callback-url --own` does.

use clap::ValueEnum;

use super::own::Parameter;

/// The language of the program that sends messages and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Snippet {
    /// JavaScript, as Node runs it.
    Node,
    /// Python 3.
    Python,
    /// PHP 7 or later.
    Php,
}

impl Snippet {
    /// The function, and as a comment how it is called.
    pub(super) fn write(self, status: &str, own: &[Parameter]) -> String {
        let (url, fragment) = status.split_at(status.find('#').unwrap_or(status.len()));
        let (template, string): (&str, fn(&str) -> String) = match self {
            Self::Node => (NODE, double_quoted),
            Self::Python => (PYTHON, double_quoted),
            Self::Php => (PHP, single_quoted),
        };
        let between = match self {
            Self::Php => " => ",
            Self::Node | Self::Python => ": ",
        };
        let pair =
            |own: &Parameter| format!("{}{between}{}", string(&own.name), string(&own.value));
        let example = match own {
            [] => format!("{}{between}{}", string("order_id"), string("A-1")),
            own => own.iter().map(pair).collect::<Vec<_>>().join(", "),
        };
        // The example last: it is the operator's, and what stands in it is not replaced again.
        template
            .replace("<URL>", &string(url))
            .replace("<FRAGMENT>", &string(fragment))
            .replace("<EXAMPLE>", &example)
    }
}

const NODE: &str = "\
// The status callback of one call or message, with parameters of your own.
function statusCallback(own) {
  const encode = (text) => encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => '%' + char.charCodeAt(0).toString(16).toUpperCase());
  const pairs = Object.entries(own).map(([name, value]) => encode(name) + '=' + encode(value));
  return <URL> + '?' + pairs.sort().join('&') + <FRAGMENT>;
}

// client.messages.create({ to, from, body, statusCallback: statusCallback({ <EXAMPLE> }) })
";

const PYTHON: &str = "\
from urllib.parse import quote


def status_callback(own):
    \"\"\"The status callback of one call or message, with parameters of your own.\"\"\"
    pairs = sorted(quote(str(name), safe='') + '=' + quote(str(value), safe='') for name, value in own.items())
    return <URL> + '?' + '&'.join(pairs) + <FRAGMENT>


# client.messages.create(to=…, from_=…, body=…, status_callback=status_callback({<EXAMPLE>}))
";

const PHP: &str = "\
// The status callback of one call or message, with parameters of your own.
function statusCallback(array $own): string
{
    $pairs = [];
    foreach ($own as $name => $value) {
        $pairs[] = rawurlencode((string) $name) . '=' . rawurlencode((string) $value);
    }
    sort($pairs, SORT_STRING);
    return <URL> . '?' . implode('&', $pairs) . <FRAGMENT>;
}

// $client->messages->create($to, ['from' => $from, 'body' => $body, 'statusCallback' => statusCallback([<EXAMPLE>])]);
";

/// A string of JavaScript and of Python, on one line.
fn double_quoted(text: &str) -> String {
    serde_json::to_string(text).expect("strings always serialize")
}

/// A string of PHP, in which nothing but these two means something. A line end would end the comment of the example;
/// there it is a blank, as nothing is run.
fn single_quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{}'", text.replace(['\n', '\r'], " ").replace("?>", "? >"))
}

//! Where settings come from, the weakest first: the built-in defaults, the conventional
//! environment variables, the user's file, `OFFHOOK_…` variables.
//!
//! The layers are added one at a time and everything is read after each, so that an unknown key, or a value that does
//! not fit, is reported with the layer that brought it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use config::builder::DefaultState;
use config::{ConfigBuilder, ConfigError as Cause, File, FileFormat, Map, Value, ValueKind};

use super::restart_only::{RestartOnly, fingerprint};
use super::sections::{NOT_A_NAME, Raw};
use super::{ConfigError, DEFAULTS, Origin};
use crate::inbound::PathPrefixError;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The user's file.
    pub file: Option<PathBuf>,
    /// The environment. Variables that are not offhook's are passed over, and so are empty ones.
    pub environment: BTreeMap<String, String>,
}

/// A variable of the process's environment. An empty one counts as unset: a Compose file makes one of a variable that
/// is not set (`${X:-}`). Blanks and line ends around a value are not a part of it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().trim().to_owned();
    Some(value).filter(|value| !value.is_empty())
}

impl Sources {
    /// The process's own environment, and perhaps a file.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, environment }
    }
}

/// What was set, and where.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) raw: Raw,
    /// What a reload cannot change.
    pub(crate) restart_only: RestartOnly,
    /// The weakest first.
    layers: Vec<Layer>,
}

impl Loaded {
    /// The layer that set a dotted key last.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        let set = self.layers.iter().rev().find(|layer| holds(&layer.values, key));
        set.map_or(Origin::NotSet, |layer| layer.origin.clone())
    }

    /// Whether the first key was set in a layer above the second's, or in the same.
    pub(crate) fn overrides(&self, key: &str, other: &str) -> bool {
        let layer = |key| self.layers.iter().rposition(|layer| holds(&layer.values, key));
        layer(key) >= layer(other)
    }

    /// A [`fingerprint`] of the element of a list.
    pub(crate) fn fingerprint(&self, list: &str, place: usize) -> u64 {
        let set = self.layers.iter().rev().find_map(|layer| layer.values.get(list));
        let element = set.and_then(|value| match &value.kind {
            ValueKind::Array(elements) => elements.get(place),
            _ => None,
        });
        element.map_or(0, |element| fingerprint(list, element))
    }

    /// An error about a key.
    pub(crate) fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError { key: key.to_owned(), origin: self.origin(key), problem: problem.into() }
    }

    /// An error about a key that is 0 and should not be.
    pub(crate) fn zero(&self, key: &str, value: u64, problem: &str) -> Option<ConfigError> {
        (value == 0).then(|| self.error(key, problem))
    }
}

fn holds(values: &Map<String, Value>, key: &str) -> bool {
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    match (values.get(first), rest) {
        (Some(value), Some(rest)) => match &value.kind {
            ValueKind::Table(table) => holds(table, rest),
            _ => true,
        },
        (found, _) => found.is_some(),
    }
}

/// What was set in one place.
#[derive(Debug)]
struct Layer {
    origin: Origin,
    values: Map<String, Value>,
}

/// Reads every layer.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut environment = sources.environment.clone();
    environment.retain(|_, value| !value.trim().is_empty());
    let mut all = vec![Layer { origin: Origin::Default, values: DEFAULT_VALUES.clone() }];
    all.extend(conventional(&environment));
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            key: "--config".to_owned(),
            origin: Origin::File(path.clone()),
            problem: format!("the file cannot be read: {error}"),
        })?;
        all.push(file_layer(Origin::File(path.clone()), &text)?);
    }
    all.extend(overrides(&environment));

    let mut builder = ConfigBuilder::<DefaultState>::default();
    let mut layers = Vec::with_capacity(all.len());
    let (mut raw, mut restart_only) = (None, RestartOnly::default());
    for layer in all {
        builder = builder.add_source(Values(layer.values.clone()));
        let read = builder.build_cloned().and_then(config::Config::try_deserialize::<Raw>);
        raw = Some(read.map_err(|cause| blame(&layer, &cause))?);
        restart_only.add(&layer.values);
        layers.push(layer);
    }
    let raw = raw.expect("the defaults are always a layer");
    Ok(Loaded { raw, restart_only, layers })
}

/// A layer's values as the library's source.
#[derive(Debug, Clone)]
struct Values(Map<String, Value>);

impl config::Source for Values {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, Cause> {
        Ok(self.0.clone())
    }
}

/// Parsed once, and not at each reload.
static DEFAULT_VALUES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    parse(DEFAULTS).expect("they are part of the program, and of each test of it")
});

fn parse(text: &str) -> Result<Map<String, Value>, Cause> {
    config::Source::collect(&File::from_str(text, FileFormat::Toml))
}

fn file_layer(origin: Origin, text: &str) -> Result<Layer, ConfigError> {
    let values = parse(text).map_err(|cause| ConfigError {
        key: "the file".to_owned(),
        origin: origin.clone(),
        problem: format!("it is not valid TOML: {}", explain(&cause).1),
    })?;
    Ok(Layer { origin, values })
}

/// Taken only where neither the file nor `OFFHOOK_…` says anything.
fn conventional(environment: &BTreeMap<String, String>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut add = |variables: &str, key: &str, value: Value| {
        let origin = Origin::Conventional(variables.to_owned());
        layers.push(Layer { origin, values: nested(key, value) });
    };
    if let Some(sid) = environment.get("TWILIO_ACCOUNT_SID") {
        let mut names = "TWILIO_ACCOUNT_SID".to_owned();
        let mut account = Map::from_iter([("sid".to_owned(), text(sid))]);
        if let Some(token) = environment.get("TWILIO_AUTH_TOKEN") {
            let tokens = ValueKind::Array(vec![text(token)]);
            account.insert("auth_tokens".to_owned(), Value::new(None, tokens));
            names.push_str(", TWILIO_AUTH_TOKEN");
        }
        if let Some(path) = environment.get("TWILIO_AUTH_TOKEN_FILE") {
            account.insert("auth_tokens_file".to_owned(), text(path));
            names.push_str(", TWILIO_AUTH_TOKEN_FILE");
        }
        let accounts = ValueKind::Array(vec![Value::new(None, ValueKind::Table(account))]);
        add(&names, "account", Value::new(None, accounts));
    }
    for (variable, key) in [
        ("DATABASE_URL", "store.url"),
        ("DATABASE_URL_FILE", "store.url_file"),
        ("REDIS_URL", "stream.url"),
        ("REDIS_URL_FILE", "stream.url_file"),
    ] {
        if let Some(value) = environment.get(variable) {
            add(variable, key, text(value));
        }
    }
    // OpenTelemetry's own variables. In a build without traces they are not offhook's.
    if cfg!(feature = "otel") {
        const WHOLE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        if let Some(url) = environment.get(WHOLE) {
            add(WHOLE, "traces.endpoint", text(url));
        } else if let Some(base) = environment.get(BASE) {
            let url = format!("{}/v1/traces", base.trim_end_matches('/'));
            add(BASE, "traces.endpoint", text(&url));
        }
    }
    layers
}

/// `OFFHOOK_<SECTION>__<KEY>`. Values stay text: a token of digits is not a number.
fn overrides(environment: &BTreeMap<String, String>) -> Vec<Layer> {
    /// Options of commands, and not keys of the file: where the file is, which server to ask, and with which token.
    const OPTIONS: [&str; 3] = ["OFFHOOK_CONFIG", "OFFHOOK_ADMIN_URL", "OFFHOOK_SENDING_TOKEN"];
    let ours = environment.iter().filter(|(name, _)| !OPTIONS.contains(&name.as_str()));
    ours.filter_map(|(name, value)| {
        let key = name.strip_prefix("OFFHOOK_")?.to_lowercase().replace("__", ".");
        let values = nested(&key, text(value));
        Some(Layer { origin: Origin::Override(name.clone()), values })
    })
    .collect()
}

/// Trims a value as the content of a file is trimmed: blanks and line ends around it are not part of it.
fn text(value: &str) -> Value {
    Value::new(None, ValueKind::String(value.trim().to_owned()))
}

/// `a.b` = value, as nested tables.
fn nested(key: &str, value: Value) -> Map<String, Value> {
    match key.split_once('.') {
        None => Map::from_iter([(key.to_owned(), value)]),
        Some((first, rest)) => {
            let inner = Value::new(None, ValueKind::Table(nested(rest, value)));
            Map::from_iter([(first.to_owned(), inner)])
        }
    }
}

/// The error of the layer that was added last.
fn blame(layer: &Layer, cause: &Cause) -> ConfigError {
    let (key, problem) = explain(cause);
    // `[account]` in the place of `[[account]]` is a slip that TOML invites.
    let problem = match LISTS.iter().find(|list| key == **list) {
        Some(list) if problem.ends_with(A_LIST) => {
            format!("it must be a list: write [[{list}]], with two brackets")
        }
        _ => problem,
    };
    // An environment variable is one key; the library names a part of it at best.
    let only = only_key(&layer.values).filter(|only| only.starts_with(&key));
    let key = only.unwrap_or(if key.is_empty() { "a key".to_owned() } else { key });
    ConfigError { key: without_secrets(&key), origin: layer.origin.clone(), problem }
}

/// A dotted key, but for what cannot be the name of one and may be a secret.
fn without_secrets(key: &str) -> String {
    let shown = key.split('.').map(|part| {
        let name = part.split('[').next().unwrap_or_default();
        if part == "a key" || is_a_name(name) { part } else { "…" }
    });
    shown.collect::<Vec<_>>().join(".")
}

fn only_key(values: &Map<String, Value>) -> Option<String> {
    let mut keys = values.iter();
    let (name, value) = keys.next()?;
    if keys.next().is_some() {
        return None;
    }
    match &value.kind {
        ValueKind::Table(table) => only_key(table).map(|rest| format!("{name}.{rest}")),
        _ => Some(name.clone()),
    }
}

/// The key and the problem, without the value: it may be a secret.
fn explain(cause: &Cause) -> (String, String) {
    match cause {
        Cause::At { error, key, .. } => {
            let (inner, problem) = explain(error);
            let key = key.clone().unwrap_or_default();
            let joined = [key.as_str(), inner.as_str()].into_iter().filter(|part| !part.is_empty());
            (joined.collect::<Vec<_>>().join("."), problem)
        }
        Cause::Type { expected, key, .. } => {
            (key.clone().unwrap_or_default(), format!("it must be {}", in_words(expected)))
        }
        Cause::NotFound(key) => (key.clone(), "is missing".to_owned()),
        Cause::FileParse { cause, .. } => (String::new(), place_in_file(&cause.to_string())),
        Cause::Message(text) => (String::new(), without_value(text)),
        // No other text is known to be free of values.
        _ => (String::new(), DOES_NOT_FIT.to_owned()),
    }
}

const DOES_NOT_FIT: &str = "the value does not fit";
/// Sections that may stand there several times.
const LISTS: [&str; 4] = ["account", "forward", "fallback.number", "sender"];
const A_LIST: &str = "a list: [\"…\"]";
/// Of the standard library, about an address without a port, or without digits.
const NO_ADDRESS: &str = "invalid socket address syntax";

/// Serde's text, in which values are quoted: of one that is known, only the part without.
fn without_value(text: &str) -> String {
    if let Some((_, known)) = unknown_field(text).filter(|(name, _)| !is_a_name(name)) {
        return format!("it has a key that is not known; known are {known}");
    }
    // Its own words for a key that it does not know are not for people.
    if let Some((name, known)) = unknown_field(text) {
        return format!("`{name}` is not a known key; known are {known}");
    }
    // Our own, or about a key rather than a value.
    let known = [NOT_A_NAME, "unknown field `", "missing field `", "duplicate field `"];
    if known.iter().any(|known| text.starts_with(known)) || text == PathPrefixError.to_string() {
        return text.to_owned();
    }
    if text == NO_ADDRESS {
        return "it must be ADDRESS:PORT, such as 0.0.0.0:8080".to_owned();
    }
    // The value stands before, and may itself hold these words.
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if is_plain(expected) => {
            format!("it must be {}", in_words(expected))
        }
        _ => DOES_NOT_FIT.to_owned(),
    }
}

/// The unknown name, and the known ones.
fn unknown_field(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("unknown field `")?;
    rest.rsplit_once("`, expected ")
        .map(|(name, known)| (name, known.trim_start_matches("one of ")))
}

/// Whether it may be a misspelt key, and not a secret in the place of one: few letters.
fn is_a_name(name: &str) -> bool {
    const LONGEST: usize = 30;
    name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

/// Whether it is one of the texts with which serde says what it expected of our types, none of
/// which holds a digit or a quotation mark.
fn is_plain(expected: &str) -> bool {
    const KNOWN: [&str; 9] = [
        "a sequence",
        "a string",
        "a map",
        "a boolean",
        "a number",
        "path string",
        "an integer",
        "socket address",
        "a nonzero usize",
    ];
    KNOWN.contains(&expected) || expected.strip_prefix("struct ").is_some_and(is_word)
}

fn is_word(text: &str) -> bool {
    text.starts_with("Raw") && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// What was expected, for someone who writes a file.
fn in_words(expected: &str) -> String {
    match expected {
        "a sequence" => A_LIST.to_owned(),
        "a boolean" => "true or false".to_owned(),
        _ if expected.ends_with("integer") || expected.ends_with("usize") => {
            "a whole number, 0 or more".to_owned()
        }
        "path string" => "a path".to_owned(),
        "a map" => "a section with keys of its own".to_owned(),
        _ if expected.starts_with("struct ") => "a section with keys of its own".to_owned(),
        other => other.to_owned(),
    }
}

/// `line 3, column 5`, if the parser says so: what it quotes is a line of the file.
fn place_in_file(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let place = first.split_once(" at ").map_or("", |(_, place)| place);
    let words: Vec<&str> = place.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["line", line, "column", column]
            if [line, column].iter().all(|n| n.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("it cannot be read at line {line}, column {column}")
        }
        _ => "it cannot be read".to_owned(),
    }
}

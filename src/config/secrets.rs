//! Secrets as they are written: a value, or the file that holds it.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

/// A secret, as it is or from its file.
pub(crate) fn one_of(
    secret: Option<SecretString>,
    file: &Option<PathBuf>,
) -> Result<Option<SecretString>, String> {
    match (secret, file) {
        (Some(_), Some(_)) => Err("it is set both as a value and as a file: keep one".to_owned()),
        (None, Some(path)) => Ok(Some(read(path)?.into())),
        (secret, None) => Ok(secret),
    }
}

/// Without what stands around it: an environment's line end, or a blank that was pasted along.
pub(crate) fn trimmed(secret: &SecretString) -> SecretString {
    secret.expose_secret().trim().into()
}

/// An HMAC accepts an empty key, most likely from a variable that was not set, and then anyone can sign.
pub(crate) fn is_blank(secret: &SecretString) -> bool {
    secret.expose_secret().trim().is_empty()
}

pub(crate) fn read(path: &PathBuf) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", shown(path)))?;
    let text = text.trim().to_owned();
    if text.is_empty() { Err(format!("{} is empty", shown(path))) } else { Ok(text) }
}

/// A path, if it cannot be the secret itself in the place of its file.
fn shown(path: &Path) -> String {
    let plain = path.to_str().is_some_and(|text| {
        let begins = ["./", "../"].iter().any(|start| text.starts_with(start));
        // Base64 may begin with a slash.
        let absolute = text.strip_prefix('/').is_some_and(|rest| rest.contains('/'));
        (begins || absolute) && !text.contains([':', '@', '+', '='])
    });
    if plain { path.display().to_string() } else { "the file that it names".to_owned() }
}

//! `public_url`: the base of every URL that was given to Twilio.

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::event::Route;
use crate::twilio::public_url::PublicUrl;

/// The base of every URL that was given to Twilio.
pub(crate) fn resolve(loaded: &Loaded) -> Result<PublicUrl, ConfigError> {
    let Some(url) = &loaded.raw.public_url else {
        return Err(loaded.error(
            "public_url",
            "Twilio signs the URL that it was given, so offhook must know it: set it, or \
             OFFHOOK_PUBLIC_URL, to the base of that URL, such as https://hooks.example.com",
        ));
    };
    PublicUrl::parse(url).map_err(|error| loaded.error("public_url", error.to_string()))
}

/// Warns of a public URL that ends with a part that belongs elsewhere.
pub(crate) fn warning(loaded: &Loaded, url: &PublicUrl) -> Option<ConfigError> {
    let last = url.as_str().rsplit('/').next().unwrap_or_default();
    let is_a_route = Route::ALL.iter().any(|route| route.as_str() == last);
    is_a_route.then(|| {
        let problem = format!(
            "it ends with /{last}, which is a route: Twilio would have to be given …/{last}/status. Leave it out"
        );
        loaded.error("public_url", problem)
    })
}

#[cfg(test)]
mod tests {
    use crate::config::testing::check_warning;

    #[test]
    fn a_route_at_its_end_is_warned_of() {
        let url = |url| [("OFFHOOK_PUBLIC_URL", url)];
        check_warning(&url("https://h.example/status"), "", "public_url", "/status/status");
        let slash = url("https://h.example/a/sms-fallback/");
        check_warning(&slash, "", "public_url", "which is a route");
    }
}

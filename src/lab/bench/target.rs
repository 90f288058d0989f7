//! [`Target`]: a URL to send callbacks to.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::template::Templates;
use crate::twilio::keyring::Secret;
use crate::twilio::public_url::PublicUrl;

/// Where callbacks go, and what is sent there.
pub(crate) struct Target {
    pub(super) address: SocketAddr,
    pub(super) templates: Templates,
}

impl Target {
    /// The server of an `http://` URL, for which callbacks are signed, or for the same path of
    /// `public`.
    ///
    /// # Errors
    /// The URL is not valid, or its host cannot be resolved.
    pub(crate) async fn new(
        url: &str,
        public: Option<&PublicUrl>,
        account: &str,
        secret: Arc<Secret>,
    ) -> anyhow::Result<Self> {
        let url = url.split('#').next().unwrap_or_default();
        let host = url.strip_prefix("http://").with_context(|| {
            format!("{url}: write http://…; TLS is for a proxy, behind which it is measured")
        })?;
        let host = host.split(['/', '?']).next().unwrap_or_default();
        let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = tokio::net::lookup_host(&with_port)
            .await
            .with_context(|| format!("the host of {url} is not known"))?;
        let address = addresses.next().with_context(|| format!("{host} has no address"))?;
        let public = public.map_or_else(|| url.to_owned(), |base| base.join(path_of(url)));
        let templates = Templates::of_an_hour(&public, path_of(url), host, account, secret);
        Ok(Self { address, templates })
    }
}

/// Path and query of a URL.
fn path_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    url[authority..].find(['/', '?']).map_or("/", |at| &url[authority + at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_are_what_follows_the_host() {
        assert_eq!(path_of("http://h:1/status?a=/b"), "/status?a=/b");
        assert_eq!(path_of("http://h:1"), "/");
    }
}

//! [`ForwardDoors`]: forwards over HTTP, as the store knows them and as they are configured.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backend::feed::FeedError;
use crate::backend::forwards::{ForwardState, Replay};
use crate::backend::{BackendError, Feed, Forwards};

/// Forwards as people look at them, and change them.
#[derive(Clone, Debug)]
pub struct ForwardDoors {
    /// Where they stand.
    pub forwards: Forwards,
    /// What they read.
    pub feed: Feed,
    /// Those of this process's configuration.
    pub configured: Arc<ArcSwap<Vec<ConfiguredForward>>>,
}

/// A `[[forward]]`, as far as it may be shown.
#[derive(Clone, Debug)]
pub struct ConfiguredForward {
    /// Its name.
    pub name: String,
    /// Its URL without what may be a secret.
    pub url: String,
    /// What it sends.
    pub form: &'static str,
}

/// What people may do with a forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// Go on.
    Enable,
    /// Send nothing.
    Disable,
    /// Send again what was given up.
    Replay(Replay),
}

impl ForwardDoors {
    /// Those that the store knows, each as it is configured, if it is.
    pub(super) async fn all(
        &self,
    ) -> Result<Vec<(ForwardState, Option<ConfiguredForward>)>, BackendError> {
        let states = self.forwards.states().await?.into_iter();
        let configured = self.configured.load();
        let with_configured = |state: ForwardState| {
            let configured = configured.iter().find(|it| it.name == state.name).cloned();
            (state, configured)
        };
        Ok(states.map(with_configured).collect())
    }

    /// Whether the store knows it.
    pub(super) async fn knows(&self, name: &str) -> Result<bool, BackendError> {
        Ok(self.forwards.states().await?.iter().any(|state| state.name == name))
    }

    /// Does it; how many changes, or forwards, it was done to. Of a replay, one page.
    pub(super) async fn act(&self, name: &str, deed: &Deed) -> Result<u64, FeedError> {
        Ok(match deed {
            Deed::Enable => {
                let end = self.feed.end().await?;
                self.forwards.enable(name, &end).await?.into()
            }
            Deed::Disable => self.forwards.disable(name).await?.into(),
            Deed::Replay(which) => self.forwards.replay(name, which).await?,
        })
    }
}

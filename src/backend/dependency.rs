//! [`Dependency`] and [`Backend`]: what a process depends on and where events are committed, by name; and [`Need`],
//! what it means that one is away.

use crate::labels::labels;

labels! {
    /// Where events are committed. A closed set: it is a metric label.
    pub enum Backend {
        /// The scale-out store.
        Postgres = "postgres",
        /// The stream.
        Redis = "redis",
        /// The local log, which waits for the stream or for the store.
        Spool = "spool",
        /// The embedded store.
        Sqlite = "sqlite",
    }
}

labels! {
    /// What a process depends on, by its name in `/readyz`.
    pub enum Dependency {
        /// The scale-out store.
        Postgres = "postgres",
        /// The stream.
        Redis = "redis",
        /// Room in the local log.
        Spool = "spool",
        /// The disk of the local log.
        SpoolDisk = "spool_disk",
        /// The embedded store.
        Sqlite = "sqlite",
    }
}

impl Dependency {
    /// The backend that it is a part of.
    #[must_use]
    pub fn backend(self) -> Backend {
        match self {
            Self::Postgres => Backend::Postgres,
            Self::Redis => Backend::Redis,
            Self::Spool | Self::SpoolDisk => Backend::Spool,
            Self::Sqlite => Backend::Sqlite,
        }
    }
}

labels! {
    /// What it means for a process that one of its dependencies is away, by its name in `/readyz`.
    pub enum Need {
        /// Without it the process cannot do its job.
        Must = "must",
        /// Without it the process can do its job as long as another dependency of this kind works.
        Either = "either",
        /// Without it the process can do the part of its job that clients wait for.
        Optional = "optional",
    }
}

impl Need {
    /// Whether a process can do its job, by what each of its dependencies means for it and whether that is
    /// there.
    pub fn are_met(dependencies: impl IntoIterator<Item = (Self, bool)>) -> bool {
        let (mut must, mut either) = (true, None);
        for (need, there) in dependencies {
            match need {
                Self::Must => must &= there,
                Self::Either => either = Some(there | either.unwrap_or(false)),
                Self::Optional => {}
            }
        }
        must && either.unwrap_or(true)
    }
}

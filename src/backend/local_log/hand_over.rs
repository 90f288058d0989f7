//! Copies dead letters into another local log, which may be in use: its process finds each one as a file.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::dead_letters::LocalDeadLetters;
use super::files::{self, BEGUN, DEAD, Files};
use crate::backend::BackendError;

/// A bit that no number of the other log has, so that a copy does not take the name of one of its dead letters.
const COPY: u64 = 1 << 62;

impl LocalDeadLetters {
    /// Copies each dead letter into the directory of another log, and returns how many there are. A copy that is there
    /// stays as it is. Without dead letters, the directory is not created.
    ///
    /// # Errors
    /// A file cannot be read or written, or another dead letter has its name.
    pub async fn copy_to(&self, directory: &Path) -> Result<u64, BackendError> {
        let directory = directory.to_owned();
        self.run(move |dead_letters| {
            let ids = dead_letters.ids()?;
            if ids.is_empty() {
                return Ok(0);
            }
            let to = LocalDeadLetters::new(Files::make(&directory)?.directory().to_owned());
            for (millis, number) in &ids {
                copy(&dead_letters.path((*millis, *number)), &to.path((*millis, number | COPY)))?;
            }
            files::sync_directory(&directory.join(DEAD))?;
            Ok(ids.len() as u64)
        })
        .await
    }
}

/// Under its name only when it is complete, with the time since when it is one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = std::fs::read(from)?;
    match std::fs::read(to) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_) => {
            let other = format!("{} is another dead letter of that name", to.display());
            return Err(io::Error::other(other));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let begun = to.with_extension(BEGUN);
    let file = files::create(&begun)?;
    file.write_all_at(&bytes, 0)?;
    file.set_modified(std::fs::metadata(from)?.modified()?)?;
    file.sync_all()?;
    std::fs::rename(begun, to)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;

    #[tokio::test]
    async fn dead_letters_are_copied_once_with_the_time_since_when_they_are_dead() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
        let source = LocalDeadLetters::new(from.path().to_owned());
        let target = to.path().join("spool");
        assert_eq!(source.copy_to(&target).await, Ok(0));
        assert!(!target.exists(), "there was nothing to copy");
        let fields = vec![(Bytes::from_static(b"key"), Bytes::from_static(b"CA1-busy"))];
        let since = Timestamp::from_micros(1_764_000_000_000_000);
        source.put_old(7, &fields, "poison", since).expect("it can be written");
        for _ in 0..2 {
            assert_eq!(source.copy_to(&target).await, Ok(1));
            let copies = LocalDeadLetters::new(target.clone());
            let copies = copies.list(None, 9).await.expect("it can be read");
            let [copy] = &copies[..] else { panic!("{copies:?}") };
            assert_eq!((copy.at, &*copy.reason, &copy.fields), (since, "poison", &fields));
        }
        // Its name is taken by another.
        source.put_old(7, &fields, "other", since).expect("it can be written");
        let error = source.copy_to(&target).await.expect_err("another has its name");
        assert!(error.to_string().contains("another dead letter"), "{error}");
    }
}

//! [`Disk`]: a file system of a run's own, where it may be mounted: small, or one whose power can fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::lab::servers::{PATIENCE, poll, run};

/// How a disk treats what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unsynced {
    /// It is written as late as can be: none of it outlives the power.
    Late,
    /// It is written at once, in order.
    AtOnce,
}

/// A file system that is mounted until this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    place: PathBuf,
    /// The file that it lies in, if it does not lie in memory.
    image: Option<PathBuf>,
}

impl Disk {
    /// One of this size, in memory.
    ///
    /// # Errors
    /// There is no right to mount it.
    pub(super) fn in_memory(place: PathBuf, kib: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&place)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(&place);
        run(&mut mount).context("mount")?;
        Ok(Self { place, image: None })
    }

    /// One of this size in a file. What a process wrote and did not sync lies in the cache of
    /// the file system, and not in the file, as it lies in memory and not on a disk: so a copy of the file is
    /// what is left when the power fails.
    ///
    /// # Errors
    /// There is no right to mount it, or nothing to mount it with.
    pub(super) fn in_file(
        place: PathBuf,
        image: PathBuf,
        kib: u64,
        unsynced: Unsynced,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&place)?;
        std::fs::File::create(&image)?.set_len(kib * 1024)?;
        // All of it belongs to the user that may mount it.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image)).context("mkfs.ext4")?;
        mount(&image, &place, unsynced)?;
        Ok(Self { place, image: Some(image) })
    }

    /// What is on it now, as it would be if the power failed here; no process may be writing to it.
    pub(super) fn copy(&self) -> anyhow::Result<Left> {
        let image = self.image.clone().context("it lies in memory")?;
        let left = image.with_extension("left");
        // What was never written has no length on the disk.
        run(Command::new("cp").arg("--sparse=auto").arg(&image).arg(&left))?;
        Ok(Left(left))
    }

    /// Takes it away, once no process has anything of it open.
    pub(super) fn take_away(&self) -> anyhow::Result<()> {
        let unmounted = || unmount(&self.place, &[]).ok();
        poll(PATIENCE, unmounted).context("the disk is in use")
    }

    /// The power is back: the disk has what was left.
    pub(super) fn bring_back(&self, left: Left, unsynced: Unsynced) -> anyhow::Result<()> {
        let image = self.image.as_ref().context("it lies in memory")?;
        std::fs::rename(left.0, image)?;
        // Its place may be on a disk that has forgotten it.
        std::fs::create_dir_all(&self.place)?;
        mount(image, &self.place, unsynced)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that still has a file open keeps it until the end.
        let _ = unmount(&self.place, &["-l"]);
    }
}

/// What a power cut has left of a disk.
#[derive(Debug)]
pub(super) struct Left(PathBuf);

fn mount(image: &Path, place: &Path, unsynced: Unsynced) -> anyhow::Result<()> {
    let options = match unsynced {
        // By itself, the file system would write what it knows of files every five seconds.
        Unsynced::Late => "loop,commit=600",
        Unsynced::AtOnce => "loop,sync,dirsync",
    };
    let mut mount = Command::new("mount");
    mount.args(["-t", "ext4", "-o", options]).arg(image).arg(place);
    run(&mut mount).context("mount")
}

fn unmount(place: &Path, how: &[&str]) -> std::io::Result<()> {
    run(Command::new("umount").args(how).arg(place))
}

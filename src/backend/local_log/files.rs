//! [`Files`]: the directory of a local log, and the operations on its files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Length of a file for events: at 15,000 callbacks a second it lasts for a second.
pub(super) const LENGTH: u64 = 16 * 1024 * 1024;
/// A disk with less room gets shorter files, but none below this.
const SHORTEST: u64 = 256 * 1024;
/// Zeros that are written at once.
const ZEROS: usize = 256 * 1024;

/// The directory of dead letters.
pub(super) const DEAD: &str = "aside";
/// How the name of one ends that is not written yet.
pub(super) const BEGUN: &str = "new";
/// The directory of damaged files.
pub(super) const DAMAGED: &str = "damaged";
/// The directory of files that are to be appended again.
pub(super) const REPLAY: &str = "replay";

/// The directory of a local log. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    /// Makes it and its parts, readable by this user alone: events hold numbers and texts.
    pub(super) fn make(directory: &Path) -> io::Result<Self> {
        // What is made here must outlive the power as what will be in it does.
        let begun = directory.ancestors().take_while(|path| !path.is_dir()).count();
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        refuse_link(directory)?;
        for part in [DEAD, DAMAGED, REPLAY] {
            make_part(&directory.join(part))?;
        }
        for path in directory.ancestors().take(begun + 1) {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            match sync_directory(path) {
                // One that may be written and not read.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(Self(directory.to_owned()))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// The path of the file with this number.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:020}.log"))
    }

    fn spare(&self) -> PathBuf {
        self.0.join("spare")
    }

    /// Which files there are, in order. What merely has a name like theirs is not one.
    pub(super) fn numbers(&self) -> io::Result<Vec<u64>> {
        let ours = |path: &PathBuf| {
            let number = number(path)?;
            (*path == self.path(number) && path.is_file()).then_some(number)
        };
        let mut numbers: Vec<_> = entries(&self.0)?.iter().filter_map(ours).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A file of this number that is as long as it may become, so that a sync writes events and no
    /// metadata: one that is done with if there is one, else a new one full of zeros. Its name is on
    /// the disk when this returns. Its length is what the disk has room for.
    pub(super) fn prepare(&self, number: u64, room: u64) -> io::Result<(File, u64)> {
        let path = self.path(number);
        if std::fs::rename(self.spare(), &path).is_ok() {
            let file = options().read(true).write(true).open(&path)?;
            let length = file.metadata()?.len();
            self.sync()?;
            return Ok((file, length));
        }
        let length = LENGTH.min(room / 2).max(SHORTEST);
        let file = create(&path)?;
        let zeros = vec![0; ZEROS];
        let mut at = 0;
        while at < length {
            let rest = usize::try_from(length - at).map_or(ZEROS, |rest| rest.min(ZEROS));
            if let Err(error) = file.write_all_at(&zeros[..rest], at) {
                let _ = std::fs::remove_file(&path);
                return Err(error);
            }
            at += rest as u64;
        }
        file.sync_all()?;
        self.sync()?;
        Ok((file, length))
    }

    /// Gives a file up of which all is done with: it is used again, or deleted.
    pub(super) fn recycle(&self, number: u64) -> io::Result<()> {
        let (path, spare) = (self.path(number), self.spare());
        let length = std::fs::metadata(&path)?.len();
        // Cut when it was full, so that it lacks at most what one batch takes.
        if length >= LENGTH / 2 && !spare.exists() {
            return std::fs::rename(path, spare);
        }
        self.delete(number)
    }

    /// Gives a file up of which nothing must be readable any more.
    pub(super) fn delete(&self, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(number))
    }

    /// Deletes the file that would be used again, whose events could still be read in it.
    pub(super) fn forget_spare(&self) -> io::Result<()> {
        match std::fs::remove_file(self.spare()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes dead letters that a crash has left half written: their events wait in the log.
    pub(super) fn forget_begun(&self) -> io::Result<()> {
        let mut begun = entries(&self.0.join(DEAD))?;
        begun.retain(|path| path.extension().is_some_and(|extension| extension == BEGUN));
        begun.into_iter().try_for_each(std::fs::remove_file)
    }

    /// Puts a damaged file where nothing reads it but a replay; its new place.
    pub(super) fn quarantine(&self, number: u64) -> io::Result<PathBuf> {
        let damaged = self.0.join(DAMAGED);
        make_part(&damaged)?;
        let to = unused(&damaged, number);
        std::fs::rename(self.path(number), &to)?;
        sync_directory(&damaged)?;
        self.sync()?;
        Ok(to)
    }

    /// What is free on its disk.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.0)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// What was renamed, made or deleted is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_directory(&self.0)
    }
}

/// The files of a part, in order.
pub(super) fn files_in(part: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = entries(part)?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}

/// The paths in a directory, in order; empty if it does not exist.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes a part of a directory, if it is missing.
pub(super) fn make_part(part: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(part) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => refuse_link(part),
    }
}

fn refuse_link(path: &Path) -> io::Result<()> {
    if path.is_symlink() {
        let link = format!("{} is a symbolic link, which may lead anywhere", path.display());
        return Err(io::Error::other(link));
    }
    Ok(())
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A file of this user's alone, empty.
pub(super) fn create(path: &Path) -> io::Result<File> {
    options().read(true).write(true).create(true).truncate(true).open(path)
}

/// How each file is opened: made as this user's alone, and never where a link leads, which another may have put
/// there.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// The number of a file, by its name.
pub(super) fn number(path: &Path) -> Option<u64> {
    let (number, rest) = path.file_name()?.to_str()?.split_once('.')?;
    // None is the last one.
    number.parse().ok().filter(|&number| rest.ends_with("log") && number < u64::MAX)
}

/// This name in a directory, or one like it that is not taken.
fn unused(directory: &Path, number: u64) -> PathBuf {
    let mut names = (1..).map(|count| match count {
        1 => format!("{number:020}.log"),
        count => format!("{number:020}.{count}.log"),
    });
    let free = names.find(|name| !directory.join(name).exists());
    directory.join(free.expect("numbers do not end"))
}

/// The whole file, with zeros where its disk cannot be read.
pub(super) fn read_what_can_be(path: &Path) -> io::Result<Vec<u8>> {
    const DISK_PAGE: usize = 4096;
    let file = options().read(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    if file.read_exact_at(&mut bytes, 0).is_err() {
        for (page, bytes) in bytes.chunks_mut(DISK_PAGE).enumerate() {
            if file.read_exact_at(bytes, (page * DISK_PAGE) as u64).is_err() {
                bytes.fill(0);
            }
        }
    }
    Ok(bytes)
}

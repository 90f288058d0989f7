//! Where a local log lies.

use std::path::{Path, PathBuf};

/// A directory as others see it, wherever they stand.
#[must_use]
pub fn absolute(directory: &Path) -> PathBuf {
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned())
}

/// Why what lies in this directory, which need not be there yet, is lost sooner than a disk is; `None` if it
/// is not, as far as can be seen.
#[must_use]
pub fn volatile(directory: &Path) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        /// What Linux calls file systems that do not outlive a container, or the machine.
        const OVERLAY: u64 = 0x794c_7630;
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let directory = absolute(directory);
        let place = directory.ancestors().find(|path| path.is_dir())?;
        // 32 bits of it, with a sign on some machines.
        let kind = rustix::fs::statfs(place).ok()?.f_type.cast_unsigned() & 0xffff_ffff;
        match kind {
            OVERLAY => Some("it lies in the container itself, and goes away with it"),
            TMPFS | RAMFS => Some("it lies in memory, and goes away with the machine"),
            _ => None,
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        None
    }
}

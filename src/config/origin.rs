//! [`Origin`]: where a setting was made.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was made, the weakest first. Its text is for people; what the program does depends on the variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    NotSet,
    /// In the file that is built in.
    Default,
    /// In a variable that other programs read as well, such as `REDIS_URL`, or in several that belong together.
    Conventional(String),
    /// In the user's file.
    File(PathBuf),
    /// In an `OFFHOOK_…` variable.
    Override(String),
    /// No setting is at fault: reading them panicked.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str("not set"),
            Self::Default => f.write_str("the built-in defaults"),
            Self::Conventional(name) | Self::Override(name) => {
                write!(f, "environment variable {name}")
            }
            Self::Program => f.write_str("this program"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

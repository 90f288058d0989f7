//! [`Certificates`]: an authority of one test's own, and a server's certificate by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use offhook::lab::servers::run;
use tempfile::TempDir;

/// An authority, and what it gave to a server on loopback.
#[derive(Debug)]
pub(crate) struct Certificates(TempDir);

impl Certificates {
    /// Made anew.
    pub(crate) fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.current_dir(directory.path()).args(arguments.split(' '));
            run(&mut command).expect("openssl makes certificates");
        };
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
        std::fs::write(directory.path().join("names"), names).expect("the directory is ours");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
        openssl(&format!("req {key} -keyout key.pem -out request -subj /CN=server"));
        openssl(
            "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names \
             -days 2 -out certificate.pem",
        );
        Self(directory)
    }

    /// The authority's own certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// Copies certificate and key, under these names.
    pub(super) fn copy_to(&self, directory: &Path) {
        for name in ["certificate.pem", "key.pem"] {
            let copied = std::fs::copy(self.0.path().join(name), directory.join(name));
            copied.expect("both directories are ours");
        }
    }
}

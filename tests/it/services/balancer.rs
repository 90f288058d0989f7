//! [`Balancer`]: nginx and HAProxy with the files that are shipped, on ports of loopback.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use offhook::lab::servers::{PATIENCE, poll};
use tempfile::TempDir;

use super::{Certificates, Process, Signal, free_port, guarded};

/// One that runs, before two receivers.
#[derive(Debug)]
pub(crate) struct Balancer {
    _process: Process,
    _directory: TempDir,
    certificates: Certificates,
    plain: u16,
    tls: u16,
}

impl Balancer {
    /// nginx, without processes of its own that could outlive it.
    pub(crate) fn nginx(program: &Path, receivers: [SocketAddr; 2]) -> Self {
        let mut sample = Sample::read("config/nginx/offhook.conf", receivers);
        sample.replace("listen 443 ssl;", &format!("listen 127.0.0.1:{} ssl;", sample.tls));
        sample.replace("listen 80;", &format!("listen 127.0.0.1:{};", sample.plain));
        for (file, is) in [("pem", "certificate.pem"), ("key", "key.pem")] {
            let file = format!("/etc/nginx/tls/hooks.example.com.{file}");
            sample.replace(&file, &sample.file(is).display().to_string());
        }
        let at = sample.directory.path().display();
        let main = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nevents {{}}\nhttp {{\n\
             client_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\nfastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi;\nscgi_temp_path {at}/scgi;\ninclude {at}/sample;\n}}\n"
        );
        std::fs::write(sample.file("main"), main).expect("the directory is ours");
        let mut command = guarded(program, Signal::Kill);
        command.args(["-e", "stderr", "-c"]).arg(sample.file("main"));
        sample.run(command)
    }

    /// HAProxy, which takes a warning for an error. Without checks it finds out by a request that a receiver refuses.
    pub(crate) fn haproxy(program: &Path, receivers: [SocketAddr; 2], checks: bool) -> Self {
        let mut sample = Sample::read("config/haproxy/haproxy.cfg", receivers);
        sample.replace("bind :443 ssl", &format!("bind 127.0.0.1:{} ssl", sample.tls));
        sample.replace("bind :80\n", &format!("bind 127.0.0.1:{}\n", sample.plain));
        let both = ["certificate.pem", "key.pem"]
            .map(|name| std::fs::read_to_string(sample.file(name)).expect("it was copied"));
        std::fs::write(sample.file("both"), both.concat()).expect("the directory is ours");
        let both = sample.file("both").display().to_string();
        sample.replace("/etc/haproxy/hooks.example.com.pem", &both);
        if !checks {
            sample.replace("default-server check inter 2s fall 1 rise 2", "");
        }
        let mut command = guarded(program, Signal::Kill);
        command.args(["-dW", "-db", "-f"]).arg(sample.file("sample"));
        sample.run(command)
    }

    /// Where it is asked without TLS and with it, by clients that trust its authority.
    pub(crate) fn bases(&self) -> [String; 2] {
        [format!("http://127.0.0.1:{}", self.plain), format!("https://localhost:{}", self.tls)]
    }

    /// The certificate that its clients trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificates.authority()
    }
}

/// A file that is shipped, changed only where it has the names, ports and addresses of one deployment.
struct Sample {
    name: &'static str,
    text: String,
    directory: TempDir,
    certificates: Certificates,
    plain: u16,
    tls: u16,
}

impl Sample {
    fn read(name: &'static str, [first, second]: [SocketAddr; 2]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let certificates = Certificates::make();
        certificates.copy_to(directory.path());
        let text = std::fs::read_to_string(name).expect("it is shipped");
        let (plain, tls) = (free_port(), free_port());
        let mut sample = Self { name, text, directory, certificates, plain, tls };
        sample.replace("10.0.0.11:8080", &first.to_string());
        sample.replace("10.0.0.12:8080", &second.to_string());
        sample
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn replace(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{} has no {from}", self.name);
        self.text = self.text.replace(from, to);
    }

    /// Until it listens.
    fn run(self, mut command: Command) -> Balancer {
        std::fs::write(self.file("sample"), &self.text).expect("the directory is ours");
        let complaints = self.file("complaints");
        let file = File::create(&complaints).expect("the directory is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut process = Process::spawn(&mut command, Signal::Terminate).expect("it starts");
        let said = || std::fs::read_to_string(&complaints).unwrap_or_default();
        let listens = poll(PATIENCE, || {
            assert!(process.ended().is_none(), "{}: {}", self.name, said());
            TcpStream::connect(("127.0.0.1", self.plain)).ok()
        });
        assert!(listens.is_some(), "{}: {}", self.name, said());
        assert!(!said().contains("[warn]"), "{}: {}", self.name, said());
        let Self { directory, certificates, plain, tls, .. } = self;
        Balancer { _process: process, _directory: directory, certificates, plain, tls }
    }
}

//! [`Proxy`]: a network that can be cut, stalled and delayed, between two that believe they talk to
//! each other.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LinkState {
    /// What it should.
    Up,
    /// Every connection is closed, and new ones at once.
    Cut,
    /// Nothing arrives, and neither side notices.
    Stalled,
    /// Everything arrives later.
    Delayed(Duration),
    /// Each connection ends after this many bytes in one direction, which may be within a word.
    CutAfter(usize),
}

/// Where it leads.
#[derive(Clone, Debug)]
pub(super) enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Listens, and passes on what comes, as far as the state of the link allows.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    link: watch::Sender<LinkState>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(upstream: Upstream) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (link, seen) = watch::channel(LinkState::Up);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, upstream, seen));
        Ok(Self { address, link, _task: task })
    }

    pub(super) fn set(&self, link: LinkState) {
        self.link.send_replace(link);
    }
}

async fn accept(listener: TcpListener, upstream: Upstream, link: watch::Receiver<LinkState>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if *link.borrow() == LinkState::Cut {
            continue;
        }
        let (upstream, link) = (upstream.clone(), link.clone());
        connections.spawn(async move {
            match upstream {
                Upstream::Tcp(address) => {
                    let Ok(server) = TcpStream::connect(address).await else { return };
                    join(client, server, link).await;
                }
                Upstream::Unix(path) => {
                    let Ok(server) = UnixStream::connect(path).await else { return };
                    join(client, server, link).await;
                }
            }
        });
    }
}

/// Until either side closes, or the network does.
async fn join(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    link: watch::Receiver<LinkState>,
) {
    // Not what is tested: small packets must not wait for others.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let up = pass(from_client, to_server, link.clone());
    let down = pass(from_server, to_client, link);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<LinkState>,
) {
    let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
    loop {
        let length = tokio::select! {
            biased;
            () = cut(link.clone()) => return,
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => length,
                _ => return,
            },
        };
        let now = *link.borrow_and_update();
        let (length, last) = match now {
            LinkState::Cut => return,
            LinkState::Up => (length, false),
            LinkState::Delayed(delay) => {
                sleep(delay).await;
                (length, false)
            }
            LinkState::Stalled => {
                if link.wait_for(|link| *link != LinkState::Stalled).await.is_err() {
                    return;
                }
                (length, false)
            }
            LinkState::CutAfter(most) => {
                let left = most.saturating_sub(passed);
                (length.min(left), length >= left)
            }
        };
        passed = if matches!(now, LinkState::CutAfter(_)) { passed + length } else { 0 };
        if to.write_all(&buffer[..length]).await.is_err() || last {
            return;
        }
    }
}

async fn cut(mut link: watch::Receiver<LinkState>) {
    if link.wait_for(|link| *link == LinkState::Cut).await.is_err() {
        // The proxy is gone; its connections end with it.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        // For as long as the test.
        task.detach_all();
        address
    }

    #[tokio::test]
    async fn it_passes_on_and_cuts() {
        let proxy = Proxy::start(Upstream::Tcp(echo().await)).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        proxy.set(LinkState::Cut);
        assert!(matches!(stream.read(&mut answer).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn it_cuts_within_a_word() {
        let proxy = Proxy::start(Upstream::Tcp(echo().await)).await.unwrap();
        proxy.set(LinkState::CutAfter(3));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() <= 3, "{answer:?}");
    }

    #[tokio::test]
    async fn what_was_stalled_arrives_in_the_end() {
        let proxy = Proxy::start(Upstream::Tcp(echo().await)).await.unwrap();
        proxy.set(LinkState::Stalled);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        proxy.set(LinkState::Up);
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    }
}

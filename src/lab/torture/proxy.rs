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
pub(super) enum Weather {
    /// What it should.
    Fine,
    /// Every connection is closed, and new ones at once.
    Cut,
    /// Nothing arrives, and nobody is told.
    Stalled,
    /// Everything arrives later.
    Delayed(Duration),
    /// Each connection ends after so many bytes in one direction, which may be within a word.
    CutAfter(usize),
}

/// Where it leads.
#[derive(Clone, Debug)]
pub(super) enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Listens, and passes on what comes, as far as the weather allows.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    weather: watch::Sender<Weather>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(upstream: Upstream) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fine);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, upstream, seen));
        Ok(Self { address, weather, _task: task })
    }

    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, upstream: Upstream, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if *weather.borrow() == Weather::Cut {
            continue;
        }
        let (upstream, weather) = (upstream.clone(), weather.clone());
        connections.spawn(async move {
            match upstream {
                Upstream::Tcp(address) => {
                    let Ok(server) = TcpStream::connect(address).await else { return };
                    join(client, server, weather).await;
                }
                Upstream::Unix(path) => {
                    let Ok(server) = UnixStream::connect(path).await else { return };
                    join(client, server, weather).await;
                }
            }
        });
    }
}

/// Until either side closes, or the network does.
async fn join(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    weather: watch::Receiver<Weather>,
) {
    // Not a matter of the test: small packets shall not wait for others.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let up = pass(from_client, to_server, weather.clone());
    let down = pass(from_server, to_client, weather);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let (mut buffer, mut passed) = (vec![0; 16 * 1024], 0);
    loop {
        let length = tokio::select! {
            biased;
            () = cut(weather.clone()) => return,
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => length,
                _ => return,
            },
        };
        let now = *weather.borrow_and_update();
        let (length, last) = match now {
            Weather::Cut => return,
            Weather::Fine => (length, false),
            Weather::Delayed(delay) => {
                sleep(delay).await;
                (length, false)
            }
            Weather::Stalled => {
                if weather.wait_for(|weather| *weather != Weather::Stalled).await.is_err() {
                    return;
                }
                (length, false)
            }
            Weather::CutAfter(most) => {
                let left = most.saturating_sub(passed);
                (length.min(left), length >= left)
            }
        };
        passed = if matches!(now, Weather::CutAfter(_)) { passed + length } else { 0 };
        if to.write_all(&buffer[..length]).await.is_err() || last {
            return;
        }
    }
}

async fn cut(mut weather: watch::Receiver<Weather>) {
    if weather.wait_for(|weather| *weather == Weather::Cut).await.is_err() {
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
        proxy.set(Weather::Cut);
        assert!(matches!(stream.read(&mut answer).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn it_cuts_within_a_word() {
        let proxy = Proxy::start(Upstream::Tcp(echo().await)).await.unwrap();
        proxy.set(Weather::CutAfter(3));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() <= 3, "{answer:?}");
    }

    #[tokio::test]
    async fn what_was_stalled_arrives_in_the_end() {
        let proxy = Proxy::start(Upstream::Tcp(echo().await)).await.unwrap();
        proxy.set(Weather::Stalled);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        proxy.set(Weather::Fine);
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    }
}

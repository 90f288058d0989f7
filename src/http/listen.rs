//! [`serve`]: accepts connections up to a cap, runs HTTP/1 on each, and drains them on a stop.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::{debug, warn};

use super::answer_body::AnswerBody;
use super::phase::{Phase, Watched};
use super::places::{Caller, Place, Places, TooMany};
use super::{Cut, Limits, Observer};
use crate::retry::Backoff;

/// How long a client may go on sending after we have answered and closed. Closing at once would
/// reset the connection, and a reset can overtake an answer such as 413.
const LINGER: Duration = Duration::from_secs(1);

/// Serves `router` until `stop`, then lets every request that was begun finish.
///
/// Idle connections are closed at once; answers of the others say `connection: close`. Returns
/// when all are gone, at the latest a moment after [`Limits::drain_timeout`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    observer: Arc<impl Observer>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let router: Router = router.with_state(());
    let mut door = Door { places: Places::new(&limits), full: false };
    let mut backoff: Option<Backoff> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                backoff = None;
                match stop.run_until_cancelled(door.admit(from.ip(), observer.as_ref())).await {
                    Some(Ok(place)) => {
                        let connection = Connection {
                            router: router.clone(),
                            limits,
                            observer: Arc::clone(&observer),
                            stop: stop.clone(),
                        };
                        connections.spawn(connection.run(stream, place));
                    }
                    Some(Err(TooMany)) => observer.cut(Cut::Address),
                    None => break,
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            // Most likely no file descriptor is left; asking again at once would only spin.
            Err(error) => {
                if backoff.is_none() {
                    warn!(%error, "no connection can be accepted: trying again until one can");
                }
                observer.accept_failed(&error);
                backoff.get_or_insert_default().wait(&stop).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The client was gone before we came to it.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The listening socket.
struct Door {
    places: Places,
    /// Whether the last one found no place.
    full: bool,
}

impl Door {
    /// A place, once there is one: at the cap a stranger gives way, if there is a stranger.
    async fn admit(&mut self, from: IpAddr, observer: &impl Observer) -> Result<Place, TooMany> {
        if let Some(place) = self.places.take(from)? {
            self.full = false;
            return Ok(place);
        }
        // Once, not for each of the connections that come.
        if !self.full {
            warn!(
                "inbound.max_connections is reached: the oldest connection without a request gives way"
            );
            observer.saturated();
        }
        self.full = true;
        self.places.make_room();
        loop {
            self.places.freed().await;
            if let Some(place) = self.places.take(from)? {
                return Ok(place);
            }
        }
    }
}

struct Connection<O> {
    router: Router,
    limits: Limits,
    observer: Arc<O>,
    stop: CancellationToken,
}

impl<O: Observer> Connection<O> {
    async fn run(self, stream: TcpStream, place: Place) {
        let _open = Open::new(self.observer.as_ref());
        // Answers are small and must not wait for more. A socket that refuses works anyway.
        let _ = stream.set_nodelay(true);
        if let Err(cut) = self.drive(stream, &place).await {
            debug!(phase = cut.as_str(), "connection cut");
            self.observer.cut(cut);
        }
    }

    async fn drive(&self, stream: TcpStream, place: &Place) -> Result<(), Cut> {
        let (phase, caller) = (Phase::new(), place.caller());
        let service = service_fn(|request| answer(&self.router, request, &phase, &caller));
        let io = TokioIo::new(Watched { stream, phase: phase.clone() });
        let mut connection = self.builder().serve_connection(io, service);

        let ended = tokio::select! {
            biased;
            ended = self.watch(&mut connection, &phase) => Some(ended),
            () = place.gives_way() => Some(Err(Cut::GaveWay)),
            () = self.stop.cancelled() => None,
        };
        match ended {
            Some(ended @ (Ok(()) | Err(Cut::Unreadable))) => {
                linger(connection.into_parts().io.into_inner()).await;
                ended
            }
            Some(cut) => cut,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                let drained = self.watch(&mut connection, &phase);
                timeout(self.limits.drain_timeout, drained).await.unwrap_or(Err(Cut::Drain))
            }
        }
    }

    /// Waits until the connection ends by itself, or a phase of it expires.
    async fn watch<F>(&self, connection: F, phase: &Phase) -> Result<(), Cut>
    where
        F: Future<Output = hyper::Result<()>> + Unpin,
    {
        tokio::select! {
            biased;
            ended = connection => match ended {
                Err(error) if error.is_parse() => Err(Cut::Unreadable),
                // It is over; whose wish that was does not matter.
                _ => Ok(()),
            },
            cut = phase.expired(&self.limits) => Err(cut),
        }
    }

    fn builder(&self) -> http1::Builder {
        /// hyper accepts no smaller buffer.
        const MIN_BUFFER: usize = 8192;
        let mut builder = http1::Builder::new();
        builder
            // An answer is two hundred bytes: one buffer, and one plain write.
            .writev(false)
            // The phases distinguish a slow head from an idle connection.
            .header_read_timeout(None)
            .max_header_size(self.limits.max_header_bytes)
            // By default 400 kB, which 10,000 connections could make 4 GB.
            .max_buf_size(self.limits.max_header_bytes.max(MIN_BUFFER));
        builder
    }
}

async fn answer(
    router: &Router,
    request: hyper::Request<hyper::body::Incoming>,
    phase: &Phase,
    caller: &Caller,
) -> Result<hyper::Response<AnswerBody>, Infallible> {
    phase.serving();
    let mut request: Request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(caller.clone());
    let response = router.clone().call(request).await?;
    Ok(response.map(|body| AnswerBody { body, phase: phase.clone() }))
}

/// Takes what the client is still sending, for a while, so that it reads our answer.
async fn linger(mut io: Watched) {
    // The client may be gone already, which is what we wait for.
    let _ = io.shutdown().await;
    let _ = timeout(LINGER, tokio::io::copy(&mut io.stream, &mut tokio::io::sink())).await;
}

/// Tells the observer of the end, however it comes.
struct Open<'o, O: Observer>(&'o O);

impl<'o, O: Observer> Open<'o, O> {
    fn new(observer: &'o O) -> Self {
        observer.opened();
        Self(observer)
    }
}

impl<O: Observer> Drop for Open<'_, O> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

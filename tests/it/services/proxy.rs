//! [`Proxy`]: a network that can go silent, between offhook and a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Forwards connections to a port of loopback. Its threads end with their connections, and with the
/// test's process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    /// Connections up to this one are dead.
    dead: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
}

impl Proxy {
    /// Before the server on this port.
    pub(crate) fn to(port: u16) -> Self {
        Self::slow_to(port, Duration::ZERO)
    }

    /// The same, where each connection takes so long to come about.
    pub(crate) fn slow_to(port: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (dead, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (ends, counter) = (Arc::clone(&dead), Arc::clone(&opened));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                let ends = Arc::clone(&ends);
                thread::spawn(move || {
                    thread::sleep(delay);
                    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                    let both = (client.try_clone(), server.try_clone());
                    let (Ok(from), Ok(to)) = both else { return };
                    let ends_too = Arc::clone(&ends);
                    thread::spawn(move || forward(from, to, number, &ends_too));
                    forward(server, client, number, &ends);
                });
            }
        });
        Self { address, dead, opened }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every connection that is open now goes silent for ever, and nobody is told, as when a host
    /// in the middle loses its power. New ones work.
    pub(crate) fn lose_connections(&self) {
        self.dead.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, number: u64, dead: &AtomicU64) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        let lost = number <= dead.load(Ordering::SeqCst);
        if length == 0 && !lost {
            break;
        }
        if length == 0 || (!lost && to.write_all(&buffer[..length]).is_err()) {
            break;
        }
    }
    if number > dead.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
    // One that is lost is kept open by the other direction, until both of its ends are gone.
}

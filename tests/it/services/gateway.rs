//! [`Gateway`]: what stands in for Redis, and does some of it in another way.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use super::Redis;

/// What becomes of a command.
pub(crate) enum Then {
    /// Redis gets it as it is.
    Pass,
    /// Redis gets another.
    Instead(Vec<String>),
    /// Redis does not get it, and this is the answer.
    Answer(String),
}

/// Answers as Redis does, unless `then` says otherwise of a command; of one whose words are all text.
#[derive(Debug)]
pub(crate) struct Gateway(SocketAddr);

impl Gateway {
    pub(crate) fn before(
        redis: &Redis,
        then: impl Fn(&[String]) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (socket, then) = (redis.socket(), Arc::new(then));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (socket, then) = (socket.clone(), Arc::clone(&then));
                thread::spawn(move || {
                    let Ok(server) = UnixStream::connect(&socket) else { return };
                    let both = (client.try_clone(), server.try_clone());
                    let (Ok(to_client), Ok(from_server)) = both else { return };
                    thread::spawn(move || answers(from_server, &to_client));
                    let _ = commands(&client, &server, &*then);
                    let _ = server.shutdown(Shutdown::Both);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self(address)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.0)
    }
}

fn answers(mut from: UnixStream, mut to: &TcpStream) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn commands(
    client: &TcpStream,
    mut server: &UnixStream,
    then: &(impl Fn(&[String]) -> Then + ?Sized),
) -> std::io::Result<()> {
    let mut from = BufReader::new(client);
    while let Some((raw, words)) = command(&mut from)? {
        match then(&words) {
            Then::Pass => server.write_all(&raw)?,
            Then::Answer(answer) => (&*client).write_all(answer.as_bytes())?,
            Then::Instead(words) => {
                let words: String =
                    words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
                let count = words.matches('$').count();
                server.write_all(format!("*{count}\r\n{words}").as_bytes())?;
            }
        }
    }
    Ok(())
}

/// The next command, and its words as text.
fn command(from: &mut impl std::io::BufRead) -> std::io::Result<Option<(Vec<u8>, Vec<String>)>> {
    let mut raw = Vec::new();
    let number = |line: &[u8]| -> usize {
        let text = String::from_utf8_lossy(line);
        text.trim()[1..].parse().expect("the client writes the protocol as it is")
    };
    if from.read_until(b'\n', &mut raw)? == 0 {
        return Ok(None);
    }
    let mut words = Vec::new();
    for _ in 0..number(&raw) {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        let mut word = vec![0; number(&line) + 2];
        from.read_exact(&mut word)?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
        raw.extend(line);
        raw.extend(word);
    }
    Ok(Some((raw, words)))
}

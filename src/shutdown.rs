//! SIGTERM and SIGINT: the first asks everything to finish, the second ends at once. SIGHUP, which
//! ends nothing.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended.
const IMPATIENT: i32 = 130;

/// A token that the first signal cancels. The second ends the process.
///
/// # Errors
/// The signals cannot be listened to.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (terminate, interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    #[expect(clippy::disallowed_methods, reason = "outlives every service: it ends them")]
    tokio::spawn(watch(terminate, interrupt, stop.clone()));
    Ok(stop)
}

/// SIGHUP, which from now on ends no process.
///
/// # Errors
/// The signal cannot be listened to.
pub fn on_hangup() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, stop: CancellationToken) {
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if stop.is_cancelled() {
            std::process::exit(IMPATIENT);
        }
        stop.cancel();
    }
}

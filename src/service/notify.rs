//! Messages to the service manager: sd_notify(3), as datagrams to the socket it names in `NOTIFY_SOCKET`.
//!
//! Without a service manager every message goes nowhere. None of them can fail in a way that matters: a service goes on
//! although nobody hears that it does.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// Speaks to the service manager.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Speaks to whom the environment names.
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).ok();
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        // A watchdog meant for another process is none of ours.
        let ours = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = var("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        Self::to(&socket, micros.filter(|n| *n > 0).map(Duration::from_micros))
    }

    /// Speaks to a socket: a path, or a name in the abstract name space after `@`.
    pub fn to(socket: &OsStr, watchdog: Option<Duration>) -> Self {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        };
        let to = address.and_then(|address| Ok(Arc::new((UnixDatagram::unbound()?, address))));
        if let Err(e) = &to {
            log::warn!("NOTIFY_SOCKET={}: {e}; the service manager will not hear of us", socket.display());
        }
        Self { to: to.ok(), watchdog }
    }

    /// How long the service manager waits for a sign of life before it ends the process, if it does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.to.is_some())
    }

    /// Still starting: another `time` from now, please.
    pub fn loading(&self, what: &str, time: Duration) {
        self.send(&format!("STATUS=loading: {}\nEXTEND_TIMEOUT_USEC={}", one_line(what), time.as_micros()));
    }

    /// Started, or done with reloading.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// For people: what goes on.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Reading the configuration again; `monotonic` is the time of `CLOCK_MONOTONIC`.
    pub fn reloading(&self, monotonic: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", monotonic.as_micros()));
    }

    /// Ending; the time allowed for it runs from here.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// True if somebody listens.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = self.to.as_deref() {
            // Gone or not reading: nothing we could do about it.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_as_sd_notify_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str(), Some(Duration::from_secs(30)));
        notifier.loading("the model\nREADY=1", Duration::from_secs(20));
        notifier.ready("looking");
        notifier.alive();
        notifier.reloading(Duration::from_micros(1_234_567));
        notifier.stopping();
        assert_eq!(heard(&socket), "STATUS=loading: the model READY=1\nEXTEND_TIMEOUT_USEC=20000000");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=looking");
        assert_eq!(heard(&socket), "WATCHDOG=1");
        assert_eq!(heard(&socket), "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reloading");
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=stopping");
        assert_eq!(notifier.watchdog(), Some(Duration::from_secs(30)));
    }

    #[test]
    fn an_abstract_name_works_too() {
        let name = format!("edge-rcnn-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(OsStr::new(&format!("@{name}")), None).alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
    }

    #[test]
    fn without_anybody_who_listens_messages_go_nowhere() {
        let nobody = Notifier::default();
        nobody.ready("looking");
        assert!(!nobody.is_heard() && nobody.watchdog().is_none());
        Notifier::to(OsStr::new("/nowhere/at/all"), None).stopping();
    }
}

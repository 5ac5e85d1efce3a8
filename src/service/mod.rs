//! Being a service: what is said to the service manager, and how it wants its logs.

mod journal;
mod notify;

pub use journal::on_stderr as journal_on_stderr;
pub use notify::Notifier;

//! The registry behind: questions of our own to it, and what is known about its state.
//!
//! `addresses` knows where it is and `peer` how it is reached. `ask` is the one client for
//! questions without a body, `probe` the question about a mount's rights, `standing` holds what
//! allows us to write beside it at all, and `pulse` feels whether it is still there when a
//! connection broke. `exchange` sends a client's request whose answer must be looked at before
//! it is passed on, `connectors` keeps its connections, `asker` asks by it in a caller's name, and `session` is an upload that was
//! begun so. All other requests of clients are not here: they stream through `http`.

mod addresses;
mod ask;
mod asker;
mod connectors;
mod exchange;
mod peer;
mod probe;
mod pulse;
mod session;
mod standing;

pub use addresses::Addresses;
pub(crate) use ask::innermost;
pub use ask::{Ask, AskError, BaseAnswer, USER_AGENT};
pub use asker::{Asker, InName};
pub use connectors::serving_threads;
pub use exchange::{Exchange, Held};
pub use peer::{Peers, is_repeatable};
pub use probe::ProbeAnswer;
pub use pulse::Pulse;
pub use session::UploadSession;
pub use standing::{PROBE_COUNTS_FOR, Standing, Ticket};

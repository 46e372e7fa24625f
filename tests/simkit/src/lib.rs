//! What every platform simulator shares: a movable clock, seeded randomness, fault switches, a call
//! journal, a webhook sender and the control page.
//!
//! Nothing here knows a platform. A simulator builds its routers, wraps them with [`gate::gated`], serves
//! them with [`serve::spawn`] and merges its own control routes with [`admin::router`].
//! Read `gate.rs` first: it shows how a call meets faults and the journal.

pub mod admin;
pub mod clock;
pub mod cut_off;
pub mod fault;
pub mod gate;
pub mod journal;
pub mod outbound;
pub mod random;
pub mod serve;
pub mod stand;
pub mod text;
pub mod webhook;

pub use clock::Clock;
pub use cut_off::cut_off;
pub use fault::{Action, Fault, Faults, When};
pub use journal::{Call, Journal};
pub use random::Random;
pub use webhook::{Delivery, DeliveryState, Outgoing, Signer, Signing, WebhookSender, WebhookSettings};

/// Locks a mutex and carries on after a panic elsewhere: a simulator must keep answering, and every
/// change made under these locks is a single step that cannot be left half done.
pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

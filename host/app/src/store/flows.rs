use async_trait::async_trait;

use super::StoreResult;
use crate::model::{Flow, Session};

/// Connects under way.
#[async_trait]
pub trait Flows {
    /// Stores a flow.
    async fn start_flow(&self, flow: &Flow) -> StoreResult<()>;

    /// Takes a flow out by its state: of any number of calls at once, one gets it. An expired one is taken out too,
    /// but not returned.
    async fn take_flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>>;

    /// Stores a session.
    async fn create_session(&self, session: &Session) -> StoreResult<()>;

    /// Finds a live session by its token.
    async fn session(&self, token_hash: [u8; 32]) -> StoreResult<Option<Session>>;

    /// Deletes at most `limit` expired flows and sessions. Returns how many.
    async fn purge_flows(&self, limit: u32) -> StoreResult<u64>;
}

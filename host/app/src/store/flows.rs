use async_trait::async_trait;
use patchbay_core::{SessionId, TenantId};

use super::StoreResult;
use crate::model::{Account, Flow, NewAudit, NewEvent, Session, SessionStatus};

/// What became of a completion code.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// The account is usable. `first`: by this call.
    Active {
        /// The account.
        account: Box<Account>,
        /// `false`: an earlier call with the same code had done it.
        first: bool,
    },
    /// It is not this session's code.
    Wrong,
    /// It came too late.
    Late,
    /// No account of the session waits for it, or there is no such session.
    NotPending,
}

/// Connects under way: flows of browsers, sessions of tenants, and where a tenant's browsers may go back to.
#[async_trait]
pub trait Flows {
    /// Stores a flow. One of a session marks it as started by the flow's browser, in the same transaction: the first that
    /// opens a link has it. `browser` is the hash of the cookie that came with the request, so that the same browser may
    /// open it again. `false`: the link is another browser's, or over; nothing is stored.
    async fn start_flow(&self, flow: &Flow, browser: Option<[u8; 32]>) -> StoreResult<bool>;

    /// Takes a flow out by its state: of any number of calls at once, one gets it. An expired one is taken out too,
    /// but not returned.
    async fn take_flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>>;

    /// Stores a flow whose browser has come back, under a new state: it goes on with a choice. A session stays as it is.
    /// `false`: its tenant is being erased; nothing is stored.
    async fn continue_flow(&self, flow: &Flow) -> StoreResult<bool>;

    /// Finds a flow by its state, while it lives.
    async fn flow(&self, state_hash: [u8; 32]) -> StoreResult<Option<Flow>>;

    /// Stores a session.
    async fn create_session(&self, session: &Session) -> StoreResult<()>;

    /// Finds a session by its token, while its link lives.
    async fn session(&self, token_hash: [u8; 32]) -> StoreResult<Option<Session>>;

    /// A tenant's session.
    async fn session_by_id(&self, tenant: TenantId, id: SessionId) -> StoreResult<Option<Session>>;

    /// Ends a session as `Refused` (with a code) or `Cancelled`. One that was completed, refused or cancelled stays as it
    /// is, and one that is pending can only be cancelled. Returns it as it is then; `None`: the tenant has no such session.
    async fn end_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        status: SessionStatus,
        code: Option<&str>,
    ) -> StoreResult<Option<Session>>;

    /// Takes the accounts of a session under its completion code: makes active those that wait, drops the jobs that would
    /// end their grants, appends what `taken` has for each (event and audit name the account), wakes the accounts' open
    /// posts, and completes the session. One transaction. Returns the first account of the session.
    async fn complete_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        code_hash: [u8; 32],
        taken: &[(NewEvent, NewAudit)],
    ) -> StoreResult<Completion>;

    /// Origins to which a tenant's browsers may be sent back.
    async fn connect_origins(&self, tenant: TenantId) -> StoreResult<Vec<String>>;

    /// Replaces them. `false`: there is no such tenant.
    async fn set_connect_origins(&self, tenant: TenantId, origins: &[String], audit: &NewAudit) -> StoreResult<bool>;

    /// Deletes at most `limit` expired flows, and sessions whose link ended [`crate::model::SESSION_KEEP`] ago. Returns how
    /// many.
    async fn purge_flows(&self, limit: u32) -> StoreResult<u64>;
}

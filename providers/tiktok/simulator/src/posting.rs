//! The Content Posting API: who calls, what they ask for, and whether the platform would take it.

pub(crate) mod call;
mod checks;
pub(crate) mod creator;
pub(crate) mod init;
mod request;
pub(crate) mod status;

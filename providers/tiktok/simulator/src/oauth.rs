//! Login Kit: the consent page, the token endpoint, and the book of codes and tokens behind them.

pub(crate) mod authorize;
pub(crate) mod grants;
mod page;
pub(crate) mod pkce;
pub(crate) mod redirect;
pub(crate) mod token;

//! The only HTTP client of the product. It implements [`patchbay_app::wire::Wire`] and decides which addresses may be
//! dialled: https only, public addresses only, no redirects, no proxies, no cookies, everything capped.
//! Start reading at [`Egress`]; the address rules are in `address`, the URL rules in `policy`.

mod address;
mod body;
mod client;
mod limits;
mod observe;
mod policy;
mod redact;
mod resolve;
#[cfg(test)]
mod tests;

pub use address::{Cidr, CidrError};
pub use client::{Config, ConfigError, Egress};
pub use policy::Blocked;
pub use resolve::{Lookup, SystemLookup};

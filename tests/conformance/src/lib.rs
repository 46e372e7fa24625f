//! The conformance kit: laws that every provider keeps, whatever its platform.
//!
//! A provider's crate hands over a [`Case`]: how to build the provider, how to start its simulator, and sample posts.
//! [`main`] makes one named trial of each [`law::Law`], under the usual arguments of a test binary. No network is
//! needed: the kit *is* the transport ([`transport`]), holds requests against the op table, swaps secrets for handles,
//! keeps a commit journal, and brings what is left to the simulator on loopback. [`driver`] is the rest of a host.
//!
//! Start reading at [`Case`], then at one file of `laws`.

mod built;
mod case;
pub mod driver;
pub mod law;
mod laws;
mod report;
mod signature;
pub mod transport;
mod waivers;
pub mod world;

pub use built::{Build, COMPONENT_VARIABLE, built};
pub use case::{Case, File, Platform, Refusal, Sample, StartPlatform};
pub use laws::all;
pub use report::{Entry, REPORT_VARIABLE, Report, Status, main, run};
pub use waivers::{WAIVERS, Waiver, waivers};

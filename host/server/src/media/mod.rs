//! Where media files are kept, and what they are.

mod bucket;
mod folder;
mod probe;

use patchbay_app::files::STEP;

pub use bucket::MediaBucket;
pub use folder::MediaFolder;

/// Largest file that a bucket takes from us: an object has 10,000 parts at most, by the rules of S3.
pub const MOST_S3_BYTES: u64 = 10_000 * STEP;

//! The chunk rules of FILE_UPLOAD (developers.tiktok.com/doc/content-posting-api-media-transfer-guide).
//!
//! `total_chunk_count` is the floor of size over chunk; the remainder joins the last chunk. One chunk means
//! that the chunk is the whole video, at any size.

use crate::switches::ChunkBand;

/// 4 GB; the vectors of integrators include the binary reading.
const MAX_VIDEO: u64 = 4 << 30;
const MAX_CHUNKS: u64 = 1000;

/// An accepted plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub size: u64,
    pub chunk: u64,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanError {
    VideoSize,
    ChunkSize,
    ChunkCount,
}

impl PlanError {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::VideoSize => "The video size is invalid",
            Self::ChunkSize => "The chunk size is invalid",
            Self::ChunkCount => "The total chunk count is invalid",
        }
    }
}

impl Plan {
    pub(crate) fn check(size: u64, chunk: u64, count: u64, band: ChunkBand) -> Result<Self, PlanError> {
        let (low, high, last_high) = match band {
            ChunkBand::Wide => (5_000_000, 67_108_864, 134_217_728),
            ChunkBand::Narrow => (5_242_880, 64_000_000, 128_000_000),
        };
        if size == 0 || size > MAX_VIDEO {
            return Err(PlanError::VideoSize);
        }
        if !(1..=MAX_CHUNKS).contains(&count) {
            return Err(PlanError::ChunkCount);
        }
        let plan = Self { size, chunk, count };
        if count == 1 {
            let fits = chunk == size && chunk <= high;
            return if fits { Ok(plan) } else { Err(PlanError::ChunkSize) };
        }
        if !(low..=high).contains(&chunk) {
            return Err(PlanError::ChunkSize);
        }
        if count != size / chunk {
            return Err(PlanError::ChunkCount);
        }
        if plan.last_len() > last_high {
            return Err(PlanError::ChunkSize);
        }
        Ok(plan)
    }

    /// The length of the chunk that starts at `offset`, which is a chunk border.
    pub(crate) fn len_at(&self, offset: u64) -> u64 {
        if offset / self.chunk >= self.count - 1 {
            self.size - offset
        } else {
            self.chunk
        }
    }

    pub(crate) fn last_len(&self) -> u64 {
        self.size - self.chunk * (self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_hold_in_both_bands() {
        let vectors = [
            (4_194_304, 4_194_304, 1, 4_194_304),
            (50_000_123, 10_000_000, 5, 10_000_123),
            (64_000_001, 10_000_000, 6, 14_000_001),
            (70_000_000, 10_485_760, 6, 17_571_200),
            (83_886_080, 10_485_760, 8, 10_485_760),
            (4_294_967_296, 5_242_880, 819, 6_291_456),
        ];
        for (size, chunk, count, last) in vectors {
            for band in [ChunkBand::Wide, ChunkBand::Narrow] {
                let plan = Plan::check(size, chunk, count, band).expect("an accepted plan");
                assert_eq!(plan.last_len(), last);
                assert_eq!(plan.len_at(chunk * (count - 1)), last);
            }
        }
    }

    #[track_caller]
    fn refused(size: u64, chunk: u64, count: u64, band: ChunkBand, why: PlanError) {
        assert_eq!(Plan::check(size, chunk, count, band), Err(why));
    }

    #[test]
    fn broken_plans_are_refused_by_the_part_that_is_wrong() {
        use ChunkBand::{Narrow, Wide};
        refused(15_000_000, 10_000_000, 1, Wide, PlanError::ChunkSize);
        refused(15_000_000, 10_000_000, 2, Wide, PlanError::ChunkCount);
        refused(50_000_123, 10_000_000, 6, Wide, PlanError::ChunkCount); // ceil instead of floor
        refused(0, 0, 1, Wide, PlanError::VideoSize);
        refused((4 << 30) + 1, 10_000_000, 429, Wide, PlanError::VideoSize);
        refused(100_000_000, 100_000_000, 1, Wide, PlanError::ChunkSize);
        refused(20_000_000, 4_999_999, 4, Wide, PlanError::ChunkSize);
        refused(20_000_000, 0, 2, Wide, PlanError::ChunkSize);
        refused(50_000_000, 5_000_000, 10, Narrow, PlanError::ChunkSize);
        refused(67_108_864, 67_108_864, 1, Narrow, PlanError::ChunkSize);
        refused(130_000_000, 65_000_000, 2, Narrow, PlanError::ChunkSize);
        Plan::check(67_108_864, 67_108_864, 1, Wide).expect("64 MiB works in the wide band");
    }
}

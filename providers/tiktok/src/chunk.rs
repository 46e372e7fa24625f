//! The chunk plan of a file upload: which bytes go in which PUT.
//!
//! Rules from the Media Transfer Guide: the count is the size divided by the chunk size, *rounded down*, and the
//! remainder joins the last chunk. Whether TikTok's MB are decimal or binary is not known, so the plan keeps to the
//! band that is right under both readings.

use patchbay_core::ByteRange;

/// Least size of a chunk that is not the only one: 5 MiB, which is also more than 5 MB.
pub(crate) const MIN_CHUNK: u64 = 5_242_880;
/// Greatest size of a chunk that is not the last one: 64 MB, which is also less than 64 MiB.
pub(crate) const MAX_CHUNK: u64 = 64_000_000;
/// Greatest size of the last chunk.
pub(crate) const MAX_LAST_CHUNK: u64 = 128_000_000;
/// Most chunks of one upload.
pub(crate) const MAX_CHUNKS: u64 = 1000;
/// Largest video.
pub(crate) const MAX_FILE: u64 = 4 * 1024 * 1024 * 1024;

/// A plan that TikTok accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub size: u64,
    pub chunk_size: u64,
    pub count: u64,
}

/// One PUT of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub range: ByteRange,
    pub last: bool,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanError {
    Empty,
    FileTooLarge,
    /// One chunk must be declared with the size of the file: TikTok refuses any other single chunk.
    SingleChunkSize,
    ChunkSize,
    TooManyChunks,
    LastChunk,
}

impl Plan {
    /// The plan for a file, near the wanted chunk size.
    pub(crate) fn for_size(size: u64, wanted: u64) -> Result<Self, PlanError> {
        let wanted = wanted.clamp(MIN_CHUNK, MAX_CHUNK);
        // Between one and two chunks the count rounds down to one, and then only the whole file is a valid chunk.
        let chunk_size = if size >= 2 * wanted {
            wanted
        } else if size <= MAX_CHUNK {
            size
        } else {
            size / 2
        };
        Self::new(size, chunk_size)
    }

    /// The plan of exactly this chunk size.
    pub(crate) fn new(size: u64, chunk_size: u64) -> Result<Self, PlanError> {
        if size == 0 {
            return Err(PlanError::Empty);
        }
        if size > MAX_FILE {
            return Err(PlanError::FileTooLarge);
        }
        if chunk_size == 0 {
            return Err(PlanError::ChunkSize);
        }
        let count = size / chunk_size;
        if count <= 1 {
            return match (chunk_size == size, size <= MAX_CHUNK) {
                (true, true) => Ok(Self {
                    size,
                    chunk_size,
                    count: 1,
                }),
                (true, false) => Err(PlanError::ChunkSize),
                (false, _) => Err(PlanError::SingleChunkSize),
            };
        }
        if !(MIN_CHUNK..=MAX_CHUNK).contains(&chunk_size) {
            return Err(PlanError::ChunkSize);
        }
        if count > MAX_CHUNKS {
            return Err(PlanError::TooManyChunks);
        }
        let plan = Self {
            size,
            chunk_size,
            count,
        };
        if size - plan.last_start() > MAX_LAST_CHUNK {
            return Err(PlanError::LastChunk);
        }
        Ok(plan)
    }

    /// The chunk that starts at `offset`, if one does.
    pub(crate) fn chunk_at(&self, offset: u64) -> Option<Chunk> {
        if !offset.is_multiple_of(self.chunk_size) || offset > self.last_start() {
            return None;
        }
        let last = offset == self.last_start();
        let end = if last { self.size } else { offset + self.chunk_size };
        Some(Chunk {
            range: ByteRange { start: offset, end },
            last,
        })
    }

    /// Where to go on when TikTok holds `uploaded` bytes: the start of the first chunk that it does not hold whole.
    pub(crate) fn resume_at(&self, uploaded: u64) -> u64 {
        (uploaded / self.chunk_size).min(self.count - 1) * self.chunk_size
    }

    fn last_start(&self) -> u64 {
        (self.count - 1) * self.chunk_size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(plan: &Plan) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut offset = 0;
        while offset < plan.size {
            let chunk = plan.chunk_at(offset).unwrap();
            offset = chunk.range.end;
            chunks.push(chunk);
        }
        chunks
    }

    #[track_caller]
    fn check(size: u64, chunk_size: u64, count: u64, last: u64) {
        let plan = Plan::new(size, chunk_size).unwrap();
        let chunks = walk(&plan);
        assert_eq!((plan.count, chunks.len() as u64), (count, count));
        assert_eq!(chunks[chunks.len() - 1].range.len(), last);
    }

    #[test]
    fn known_plans_come_out_as_counted_by_hand() {
        check(4_194_304, 4_194_304, 1, 4_194_304);
        check(50_000_123, 10_000_000, 5, 10_000_123);
        check(64_000_001, 10_000_000, 6, 14_000_001);
        check(70_000_000, 10_485_760, 6, 17_571_200);
        check(83_886_080, 10_485_760, 8, 10_485_760);
        check(4_294_967_296, 5_242_880, 819, 6_291_456);
    }

    #[test]
    fn plans_that_tiktok_refuses_are_refused() {
        // The trap of a fixed chunk size: the count rounds down to one.
        assert_eq!(Plan::new(15_000_000, 10_000_000), Err(PlanError::SingleChunkSize));
        assert_eq!(Plan::new(1, 2), Err(PlanError::SingleChunkSize));
        assert_eq!(Plan::new(0, 10_000_000), Err(PlanError::Empty));
        assert_eq!(Plan::new(10, 0), Err(PlanError::ChunkSize));
        assert_eq!(Plan::new(65_000_000, 65_000_000), Err(PlanError::ChunkSize));
        assert_eq!(Plan::new(50_000_000, 5_000_000), Err(PlanError::ChunkSize));
        assert_eq!(Plan::new(MAX_FILE + 1, MAX_CHUNK), Err(PlanError::FileTooLarge));
    }

    #[test]
    fn the_trap_between_one_and_two_chunks_becomes_one_whole_chunk() {
        let plan = Plan::for_size(15_000_000, 10_000_000).unwrap();
        assert_eq!((plan.count, plan.chunk_size), (1, 15_000_000));
        let plan = Plan::for_size(100_000_001, MAX_CHUNK).unwrap();
        assert_eq!((plan.count, plan.chunk_size), (2, 50_000_000));
    }

    #[test]
    fn an_upload_goes_on_at_the_first_chunk_that_is_not_whole() {
        let plan = Plan::new(50_000_123, 10_000_000).unwrap();
        for (uploaded, offset) in [
            (0, 0),
            (1, 0),
            (10_000_000, 10_000_000),
            (19_999_999, 10_000_000),
            (45_000_000, 40_000_000),
            (50_000_122, 40_000_000),
            (u64::MAX, 40_000_000),
        ] {
            assert_eq!(plan.resume_at(uploaded), offset, "{uploaded}");
            assert!(plan.chunk_at(offset).is_some());
        }
        assert_eq!(plan.chunk_at(5), None);
        assert_eq!(plan.chunk_at(50_000_000), None);
    }

    proptest! {
        #[test]
        fn every_file_has_a_plan_within_the_band(
            size in prop_oneof![1u64..=200_000_000, 1u64..=MAX_FILE],
            wanted in MIN_CHUNK..=MAX_CHUNK,
        ) {
            let plan = Plan::for_size(size, wanted).unwrap();
            let chunks = walk(&plan);
            prop_assert_eq!(chunks.len() as u64, size / plan.chunk_size);
            prop_assert!(chunks.len() as u64 <= MAX_CHUNKS);
            let mut next = 0;
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.range.start, next);
                next = chunk.range.end;
                prop_assert_eq!(chunk.last, index + 1 == chunks.len());
                let length = chunk.range.len();
                if !chunk.last {
                    prop_assert!((MIN_CHUNK..=MAX_CHUNK).contains(&length));
                } else if chunks.len() == 1 {
                    prop_assert!(length <= MAX_CHUNK && plan.chunk_size == size);
                } else {
                    prop_assert!((MIN_CHUNK..=MAX_LAST_CHUNK).contains(&length));
                }
            }
            prop_assert_eq!(next, size);
        }
    }
}

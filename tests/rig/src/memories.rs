//! What guests of components held in memory at the end of their calls.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use patchbay_server::components::Observer;

const PAGE: usize = 4096;
/// Longer than anything that is looked for, so that nothing is cut in two.
const OVERLAP: usize = 512;

/// All memories, page by page, each page once: most are the same in every call.
#[derive(Default)]
pub struct Memories {
    ended: AtomicUsize,
    bytes: AtomicUsize,
    pages: Mutex<HashSet<Vec<u8>>>,
}

impl Observer for Memories {
    fn ended(&self, memory: &[u8]) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(memory.len(), Ordering::Relaxed);
        let mut pages = self.pages.lock().unwrap();
        for at in (0..memory.len()).step_by(PAGE) {
            let page = &memory[at..memory.len().min(at + PAGE + OVERLAP)];
            if !pages.contains(page) {
                pages.insert(page.to_vec());
            }
        }
    }
}

impl Memories {
    /// All of it, with a gap after each page.
    pub fn all(&self) -> Vec<u8> {
        let pages = self.pages.lock().unwrap();
        println!(
            "{} MiB of memory of {} calls, {} different pages",
            self.bytes.load(Ordering::Relaxed) >> 20,
            self.ended.load(Ordering::Relaxed),
            pages.len()
        );
        let pages = pages.iter();
        pages.flat_map(|page| [page.as_slice(), &[0; 8]].concat()).collect()
    }
}

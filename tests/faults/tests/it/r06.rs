//! R06: hosts are killed in the middle of a file. The next one goes on where the platform stands: at most the chunk that
//! was under way is sent again. However large the file, the host's memory stays what it was.

use patchbay_faults::{Figures, Scale, world, world_on_sqlite};
use patchbay_rig::{
    Api, Host, World, holds, on_postgres, seed,
    world::{CHUNK, file_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::Random;

use crate::posts::{End, end_leases, end_of, new_account};

const MIB: u64 = 1024 * 1024;
/// What heads and a few other calls add to the bytes of an upload, for each chunk and for each kill.
const HEADS: u64 = 4 * 1024;

#[tokio::test]
async fn r06_on_sqlite() {
    // The platform is the same, and each file takes half a minute.
    kill_mid_file("R06 sqlite", world_on_sqlite().await, 5).await;
}

#[tokio::test]
async fn r06_on_postgres() {
    on_postgres(async |database| kill_mid_file("R06 postgres", world(database).await, 20).await).await;
}

async fn kill_mid_file(row: &str, world: World, most: usize) {
    let seed = seed();
    let random = Random::seeded(seed);
    let (size, files, kills) = Scale::of_run().pick((48 * MIB, 1, 3), (256 * MIB, most, 3));
    let (mut host, api) = world.start().await;
    let media = api.upload(video_bytes(size, seed)).await;
    host.kill().await;

    let mut figures = Figures::new(row, seed);
    let mut tally = Tally::default();
    for number in 0..files {
        host = world.program.serve().await;
        let account = new_account(&world, &api, number).await;
        let title = format!("file {number}");
        let (sent, puts) = (world.upload_tap.sent(), world.calls("upload"));
        let mut memory = Memory::of(&host);
        let post = api.publish(&file_post(&account, &title, &media)).await;
        for kill in 0..kills {
            // Somewhere in what is left, so that every kill comes before the end.
            let left = size.saturating_sub(world.upload_tap.sent() - sent);
            let share = left / (kills - kill);
            world.upload_tap.stall_after(random.between(1, share.max(2)));
            holds("some of the file has left", || world.upload_tap.is_stalled()).await;
            tally.grown = tally.grown.max(memory.grown());
            host.kill().await;
            world.upload_tap.release();
            host = world.program.serve().await;
            end_leases(&world.database).await;
            memory = Memory::of(&host);
        }
        tally.finish(&world, &api, &post, &title).await;
        tally.grown = tally.grown.max(memory.grown());
        let chunks = size / CHUNK;
        let again = (world.upload_tap.sent() - sent).saturating_sub(size + HEADS * (chunks + kills));
        tally.most_again = tally.most_again.max(again.div_ceil(kills));
        tally.puts_again += (world.calls("upload") - puts) as u64 - chunks;
        tally.kills += kills;
        host.kill().await;
    }
    figures.told("files", "20 of 256 MiB", format!("{files} of {} MiB", size / MIB));
    figures.told("kills in the middle of a file", "", tally.kills);
    figures.is("files that are there once and whole", files, tally.whole);
    figures.is("uploads that were begun anew", 0, tally.begun_anew);
    figures.at_most(
        "chunks sent again for each kill",
        1.0,
        tally.puts_again as f64 / tally.kills as f64,
    );
    figures.at_most("bytes sent again for each kill", CHUNK, tally.most_again);
    figures.at_most("growth of the host's memory, MiB", 64, tally.grown / MIB);
    figures.finish();
}

#[derive(Default)]
struct Tally {
    kills: u64,
    whole: usize,
    begun_anew: usize,
    puts_again: u64,
    most_again: u64,
    grown: u64,
}

impl Tally {
    async fn finish(&mut self, world: &World, api: &Api, post: &str, title: &str) {
        let (end, state) = end_of(api, post).await;
        assert_eq!(end, End::Published, "{title}: {state}");
        let posts = world.posts_titled(title);
        self.begun_anew += posts.len() - 1;
        let uploads = world.tiktok.oracle().uploads();
        let upload = uploads
            .iter()
            .find(|upload| upload.publish_id == posts[0].publish_id)
            .unwrap();
        let is_whole = upload.received == upload.video_size && upload.chunks.len() as u64 == upload.total_chunk_count;
        self.whole += usize::from(is_whole && world.published(title) == 1);
    }
}

/// The memory of a host since it was first looked at.
struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    fn of(host: &Host) -> Self {
        let pid = host.pid();
        Self {
            pid,
            before: read(pid, "VmRSS:"),
        }
    }

    /// What the most ever was above the first look.
    fn grown(&self) -> u64 {
        read(self.pid, "VmHWM:").saturating_sub(self.before)
    }
}

fn read(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

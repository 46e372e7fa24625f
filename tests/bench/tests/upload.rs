//! The measurement at a small size, and what must hold on any machine. No time is judged.

use patchbay_bench::upload::{Client, Options, run};

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_whole_and_the_host_stays_small() {
    let figures = run(&Options {
        bytes: 48 * MIB + 7,
        rounds: 1,
        reference: Client::Reqwest,
    })
    .await
    .unwrap();
    println!("{figures:?}");
    assert!(figures.is_intact(), "{figures:?}");
    assert_eq!(figures.arrived.len(), 3, "at the host, at the platform, and by hand");
    assert_eq!((figures.chunks, figures.chunk_bytes), (4, 10 * MIB));
    assert!(figures.above_idle() < 96 * MIB, "{figures:?}");
}

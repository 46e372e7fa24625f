//! A host's wall clock, to be set while it runs, by Debian's libfaketime. Its monotonic clock goes on as it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use patchbay_rig::Program;

/// The wall clock of one program.
pub struct WallClock {
    control: PathBuf,
}

impl WallClock {
    /// The program with a clock that can be set. `None`: libfaketime is not installed, and the test is skipped; under
    /// `CI` it fails.
    pub fn of(program: Program) -> Option<(Program, Self)> {
        let Some(library) = library() else {
            assert!(std::env::var_os("CI").is_none(), "libfaketime is not installed");
            eprintln!("skipped: libfaketime is not installed (apt-get install libfaketime)");
            return None;
        };
        let clock = Self {
            control: program.dir.join(format!("clock-{}", program.port)),
        };
        clock.shift("+0");
        let program = program
            .with("LD_PRELOAD", library.display().to_string())
            .with("FAKETIME_TIMESTAMP_FILE", clock.control.display().to_string())
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Some((program, clock))
    }

    /// Sets it ahead (`+1h`) or back (`-1d`) of the true time, at once.
    pub fn shift(&self, by: &str) {
        // Renamed into place: the program reads it at every look at its clock.
        let new = self.control.with_extension("new");
        fs::write(&new, format!("{by}\n")).unwrap();
        fs::rename(new, &self.control).unwrap();
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    let places = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    let mut places = places.chain([Path::new("/usr/lib/faketime/libfaketime.so.1").to_owned()]);
    places.find(|library| library.is_file())
}

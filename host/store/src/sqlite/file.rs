//! The database file and the lock beside it.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::OpenError;

/// Makes the file if there is none, readable and writable by its owner only, and returns its one true path.
///
/// A file that is there is never opened here: closing it again would drop the locks that SQLite holds on it in this
/// process (<https://www.sqlite.org/howtocorrupt.html>, section 2.2).
pub(super) fn create(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error| OpenError::File(path.to_owned(), error);
    match for_owner().write(true).create_new(true).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    path.canonicalize().map_err(failed)
}

/// Takes the exclusive lock that says that a host runs on this database. It ends with the returned handle, and so with
/// the process, however that ends.
pub(super) fn lock(database: &Path) -> Result<File, OpenError> {
    let mut name = OsString::from(database);
    name.push(".lock");
    let path = PathBuf::from(name);
    let failed = |error| OpenError::File(path.clone(), error);
    let file = for_owner()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn for_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

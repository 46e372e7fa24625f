//! Nothing but tests: they read the workspace and hold it to ARCHITECTURE.md.

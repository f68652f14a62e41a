//! Live memory that survives a reload.

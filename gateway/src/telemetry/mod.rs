//! Metrics, access log, process log.

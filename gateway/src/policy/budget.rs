//! The retry budget of a pool: failovers that fail are bounded by a share of the client's requests.

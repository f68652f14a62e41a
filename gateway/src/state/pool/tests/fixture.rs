//! A snapshot of one pool and nothing else.

use super::*;

pub(super) fn snapshot(pool: Pool) -> Arc<Snapshot> {
    Arc::new(Snapshot { pools: vec![pool], ..snapshot::tests::bare() })
}

"""Repeatable benchmarks and long-running tests. Compare only figures of one run on one machine."""

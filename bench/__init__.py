"""Repeatable benchmarks and long-running tests. Ratios compare measurements of one run on one machine."""

"""Made sessions with known truth: for the demo, the tests, the benchmarks and the simulated baseline."""

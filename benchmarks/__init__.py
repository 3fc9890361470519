"""Side-by-side speed measurements, run by hand: `make benchmarks`."""

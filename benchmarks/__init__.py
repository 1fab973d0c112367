"""`python -m benchmarks`: what this machine does, and what a step of the demo takes. Results are tables in `results/`."""

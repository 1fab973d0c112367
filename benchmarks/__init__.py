"""`python -m benchmarks`: what this machine does, and what a step of the demo takes; tables go to `results/`."""

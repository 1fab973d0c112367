"""Problem -> the cheapest choices: starts, sweeps over mesh axes, certificates, memory limits, brute force."""

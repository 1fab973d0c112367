"""Problem -> the cheapest choices: starts, sweeps over mesh axes, certificates by messages, memory limits, brute force."""

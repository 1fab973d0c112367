"""Problem -> the cheapest choices: (min,+) contraction, sweeps over mesh axes, brute force."""

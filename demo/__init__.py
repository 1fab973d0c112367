"""`python -m demo`: a transformer cut over workers by a plan that nobody wrote, compared with PyTorch.

A package, not one file, because tests and benchmarks run its parts: `setting` is the model and its text, `case` plans,
runs and compares one shape of input, `show` puts it on the terminal, `__main__` is the command.
"""

"""What it costs: the form of a node, the moves of an edge, the bytes of a collective, and their seconds."""

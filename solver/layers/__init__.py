"""Deep graphs: what repeats in them is planned in a short one, and the plan is unrolled over all layers.

    runs     stretches of equal blocks of nodes, and which block is of which layer
    places   where the nodes of layers stand; whether layers read, and are read, alike
    alike    whether two blocks are the same, but for the names of their labels
    short    a Graph without most of its inner layers, where all of these are alike
    deep     that, prepared for planning: what each node stands for, and which choose alike
    unroll   the nodes of the deep graph again: which stands for each, and what it reads

A plan is unrolled where it is written: its rows in `einsplit.solver.plan.unroll`, the bytes that its Program holds in
`einsplit.solver.program.unroll`.
"""

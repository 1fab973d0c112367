"""How a Graph is cut: Graph + Machine -> Plan -> Program."""

"""How the parts of the search are put together: what is planned, by which method, within which memory."""

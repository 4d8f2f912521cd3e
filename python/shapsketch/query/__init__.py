"""Which sequences a sketch needs: designs of queries, and plans for a budget."""

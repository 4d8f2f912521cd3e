"""Read and write files of sequences and tables. This package does not depend on models or results."""

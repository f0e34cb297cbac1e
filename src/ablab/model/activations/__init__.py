"""Element-wise activations of the MLP and of queries and keys, one per file."""

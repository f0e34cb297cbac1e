"""The reducers, one to a file of its name: what a tensor is boiled down to."""

"""Measures a running `tintype` from outside and checks it with independent readers."""

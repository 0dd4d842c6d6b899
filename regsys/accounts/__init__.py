"""Making, limiting and ending accounts."""

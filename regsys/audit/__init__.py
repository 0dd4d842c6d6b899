"""The audit log: what is written into it, and when."""

"""Passwords and their hashes, access tokens."""

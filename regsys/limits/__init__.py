"""Rate limits and concurrency limits.

A limit counts by key. The caller makes the key: ``networks.address_key`` of an address, a user's
name, or a combination.
"""

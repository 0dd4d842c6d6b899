"""Adopting the accounts of a Synapse, and handing them back (contract B17.6)."""

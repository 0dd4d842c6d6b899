"""Third-party identifiers: their rules, their proofs, and what is done with them (contract B7)."""

"""Third-party identifiers: their rules, their validation, their accounts (contract B7)."""

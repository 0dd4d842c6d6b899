"""User-interactive authentication: sessions, flows and stages (contract B8)."""

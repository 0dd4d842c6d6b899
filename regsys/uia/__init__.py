"""User-interactive authentication: sessions, flows and stages (BEHAVIOUR B8)."""

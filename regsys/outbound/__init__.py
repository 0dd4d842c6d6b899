"""Outbound requests: HTTP to other servers, and mails to an SMTP server."""

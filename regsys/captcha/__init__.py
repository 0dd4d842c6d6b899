"""Captchas and proof of work, with their UIA stages."""

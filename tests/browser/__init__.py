"""What users see, in a real browser: Chromium, headless, against `regsys serve` as a process."""

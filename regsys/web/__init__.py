"""The endpoints: they turn JSON into values and back, and hold no rules."""

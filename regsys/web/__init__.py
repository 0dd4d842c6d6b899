"""The endpoints: JSON to values and back. What they mean is decided elsewhere."""

"""Application services and the namespaces that they reserve (contract B3)."""

"""Rules for pipeline definitions, one module per part of the domain."""

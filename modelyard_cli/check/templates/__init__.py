"""Rules for CloudFormation templates, one module per part of the domain."""

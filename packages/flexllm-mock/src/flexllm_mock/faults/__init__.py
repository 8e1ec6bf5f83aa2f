"""Faults: rules, kinds, and how a reply is spoilt."""

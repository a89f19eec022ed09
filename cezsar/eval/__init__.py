"""Encoders and indexes as other people's harnesses take them."""

"""Producers and their sources as tests run them."""

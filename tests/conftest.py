"""Shared by all tests. With tests/__init__.py beside it, this puts the repository root on sys.path for tests.helpers."""

"""Duplicates: exact, near, contained, repeated passages; and overlap with held-out sets. Signatures on disk, memory bounded."""

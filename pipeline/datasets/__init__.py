"""Readers of published data sets in their makers' layouts; they give what `pipeline/conventions.md` says."""

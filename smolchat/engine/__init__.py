"""Runs a checkpoint: token ids in, token ids out. No text, no tools, no screen."""

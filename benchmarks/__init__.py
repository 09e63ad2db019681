"""Measurements of smolchat, alone and side by side with other programs. None of them is a test."""

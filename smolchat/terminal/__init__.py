"""The screen and the keyboard. Sees events and callables, never an engine or a store."""

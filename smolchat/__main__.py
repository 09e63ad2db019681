"""`python -m smolchat`."""

from smolchat.cli import main

main()

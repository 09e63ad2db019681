PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint clean

# The main job, on the embedded checkpoint: no network after the installation.
demo: .venv/installed
	echo "The CI is failing after your last commit!" | $(BIN)/smolchat rewrite -m tiny
	@echo
	$(BIN)/smolchat run -m tiny "Hello! Who are you?"
	@echo
	@echo "Chat with it: $(BIN)/smolchat"

test: lint
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "smolchat needs Python 3.10 or later; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv

# The site: pip install -e ".[docs]" first. docs/ is a folder too, so no target here is a file.
.PHONY: docs linkcheck

SPHINX = python -m sphinx -W --keep-going -q

docs:
	$(SPHINX) -b html docs build/site
	@echo "build/site/index.html"

# Links to other sites: needs the network.
linkcheck:
	$(SPHINX) -b linkcheck docs build/links

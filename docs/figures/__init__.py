"""Figures of the README and the site: pictures and tables, made of the repository alone by `python -m docs.figures`."""

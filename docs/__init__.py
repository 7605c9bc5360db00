"""The site, and the code that makes its figures."""

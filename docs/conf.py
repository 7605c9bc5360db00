"""The settings of the site: `make docs`, which needs the extra docs and no network."""

import os
import sys
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fq  # noqa: E402
from docs import api_tables, frameworks_stand_in  # noqa: E402
from docs.figures import texts  # noqa: E402

frameworks_stand_in.install()

project = "fq"
author = "the authors of fq"
project_copyright = author
release = version = fq.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinx_design"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["equivalence.md"]  # guide/equivalence.md includes it
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(numpy|jax|torch)\..*")]  # the documentation of others is not looked up
default_role = "py:obj"
python_use_unqualified_type_names = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "substitution"]
myst_heading_anchors = 3
myst_substitutions = texts.read(ROOT / "docs")

html_theme = "furo"
pygments_dark_style = "monokai"
html_title = f"fq {release}"
if {"GITHUB_SERVER_URL", "GITHUB_REPOSITORY"} <= os.environ.keys():  # a workflow's site links to its repository
    repository = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}".format_map(os.environ)
    html_theme_options = {
        "source_view_link": f"{repository}/blob/main/docs/{{filename}}",
        "source_edit_link": f"{repository}/edit/main/docs/{{filename}}",
        "footer_icons": [{"name": "Repository", "url": repository, "html": "Repository", "class": ""}],
    }
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "pictures/favicon.svg"
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
linkcheck_timeout = 20


def without_the_last_line(_app, doctree):
    """Examples end with an empty line, which doctest needs and readers do not."""
    for block in doctree.findall(nodes.literal_block):
        block.children = [nodes.Text(block.astext().rstrip())]
        block.rawsource = block.rawsource.rstrip()


def setup(app):
    app.connect("doctree-read", without_the_last_line)
    app.connect("source-read", api_tables.put)
    app.connect("doctree-read", api_tables.link)

"""Settings of the documentation site: `sphinx-build -W -c docs . site` from the root of the repository.

The source folder is the root, so that links between README.md, docs/ and benches/ are the same here and on
the web page of the repository. The build needs no network, and neither do the pages.
"""

import inspect

import shapsketch
from numpydoc.xref import DEFAULT_LINKS

project = "shapsketch"
author = copyright = "The shapsketch developers"  # noqa: A001
version = release = shapsketch.__version__

# MyST-NB reads the pages, and runs the notebooks in docs/notebooks/, which are MyST Markdown, too.
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
root_doc = "docs/contents"
include_patterns = [
    "docs/**",
    "README.md",
    "benches/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
# Folders that the search for pages leaves out: some have 100,000 files.
exclude_patterns = [".*", "dist", "jupyter_execute", "python", "rust", "site", "target", "tests"]

# A notebook that fails, or runs for longer (in seconds), is an error.
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# The anchors of headings are those of the repository's web page.
myst_heading_anchors = 4

# References in docstrings must lead to public names. Types of parameters link to public classes.
nitpicky = True
default_role = "code"
smartquotes = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {
    name: f"shapsketch.{name}" for name in shapsketch.__all__ if inspect.isclass(getattr(shapsketch, name))
}
numpydoc_xref_ignore = "all"
# Links to Python and NumPy would need their sites during the build.
DEFAULT_LINKS.clear()
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"

html_theme = "furo"
html_title = f"shapsketch {version}"
html_copy_source = False
templates_path = ["_templates"]
# The name of the site, in the sidebar and above narrow pages, leads to the first page, not to the contents.
html_context = {"master_doc": "docs/index"}
html_additional_pages = {"index": "redirect.html"}

"""``python -m shapsketch.cli``: the command line, started as a module."""

import sys

from shapsketch.cli import main

sys.exit(main())

"""``python -m shapsketch.cli``: the command line without its script."""

import sys

from shapsketch.cli import main

sys.exit(main())

"""``python -m mlext``: the command ``mlext``."""

import sys

from mlext.cli import main

sys.exit(main())

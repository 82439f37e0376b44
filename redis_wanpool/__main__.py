"""`python -m redis_wanpool`, as `wanpool`."""

import sys

from redis_wanpool.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

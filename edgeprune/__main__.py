"""`python -m edgeprune`."""

from edgeprune.cli.app import main

main()

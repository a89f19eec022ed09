"""python -m cezsar."""

from cezsar.cli import main

main()

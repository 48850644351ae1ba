"""python -m turboquant_rs.cli is `turboquant`."""

from . import main

main()

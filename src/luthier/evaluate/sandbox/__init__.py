"""Programs a model wrote, run where they can only compute.

    runner   starts the servers, hands them trials, tells outcomes              (in luthier's process)
    server   loads the standard library, and for each trial forks two processes (one process a core)
    sides    the two: the program answers calls; its checker calls and judges   (forked, walled in)
    walls    what either may ask of the system: nearly nothing
    values   how arguments and results travel between them

A program is never in the process that judges it, so it can't end the tests early, change the checker, or return
something that says it is equal to everything. Standard library only: nothing may be read once a program runs.
"""

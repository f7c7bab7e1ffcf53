"""The command line: a view of the verbs in `luthier.workflow`."""

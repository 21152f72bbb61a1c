"""`make demo`: the whole loop on this machine, each phase timed and shown as it goes."""

"""Who answers held-out rows: one file an engine, chosen by `engine=`."""

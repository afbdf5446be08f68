"""What talks to the results API: for people and programs (results, cohorts) and for workers."""

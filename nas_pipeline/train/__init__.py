"""Training, one code for the search's short runs and for the winner's full ones."""

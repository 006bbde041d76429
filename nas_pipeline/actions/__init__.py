"""What the command line and the flows both call, and what changes the world."""

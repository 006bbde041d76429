"""Operations with effects outside the workspace. The command line and the flows call them."""

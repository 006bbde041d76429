"""The signed TUF repository of a fleet: keys, roles, release lists, journal."""

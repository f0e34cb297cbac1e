"""The commands. Each imports the rooms that it uses when it is called, so that help is quick."""

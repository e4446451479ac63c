"""The small models that ship inside, and how they were made."""

"""The panel "Point-E" in the sidebar of the 3D View, with its parts, and the entry in the Add menu."""

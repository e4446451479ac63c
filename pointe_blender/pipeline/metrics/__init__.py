"""How good clouds and meshes are, in published figures; each says its definition, unit and source."""

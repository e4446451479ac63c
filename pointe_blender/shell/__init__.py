"""What the shell's command is made of: options become items, items become files. No bpy."""

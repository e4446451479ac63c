"""What buttons, menus and scripts can call."""
